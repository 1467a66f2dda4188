"""Topics as the broker has them: made, described, and named by id."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.errors import ConfigurationError
from schemas.topics import TOPICS, TopicRole
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic of the broker.

    Attributes:
        name: its name.
        topic_id: its id; another one after the topic was deleted and made again.
        partitions: number of partitions.
    """

    name: str
    topic_id: str
    partitions: int


def describe_topics(admin: Any, names: Sequence[str]) -> dict[str, TopicInfo]:
    """Return what the broker has of topics; those it has not are left out."""
    found = {}
    for topic in admin.describe_topics(list(names)):
        if topic.get("error_code", 0) == 0 and topic.get("partitions"):
            name = topic["name"]
            found[name] = TopicInfo(name, _shown_id(topic["topic_id"]), len(topic["partitions"]))
    return found


def require_topic(admin: Any, name: str) -> TopicInfo:
    """Return a topic.

    Raises:
        ConfigurationError: the broker does not have it.
    """
    info = describe_topics(admin, [name]).get(name)
    if info is None:
        raise ConfigurationError(f"topic {name!r} does not exist: run `streamrec topics create`")
    return info


def create_topics(admin: Any, settings: Settings) -> dict[str, bool]:
    """Make the topics of the contract that are missing; return for each name whether it was made now.

    Raises:
        ConfigurationError: the broker refuses.
    """
    wanted = {settings.topic(role): role for role in TOPICS}
    present = describe_topics(admin, list(wanted))
    missing = {name: role for name, role in wanted.items() if name not in present}
    for name, role in missing.items():
        request = {
            "num_partitions": settings.partitions,
            "replication_factor": settings.replication,
            "configs": _config(role, settings.replication),
        }
        try:
            admin.create_topics({name: request})
        except TopicAlreadyExistsError:
            continue
        except KafkaError as error:
            raise ConfigurationError(f"topic {name!r} could not be made: {error!r}") from error
    if missing:
        admin.wait_for_topics(list(missing))
    return {name: name in missing for name in wanted}


def _config(role: TopicRole, replication: int) -> dict[str, str]:
    config = TOPICS[role].config
    if replication > 1:
        config["min.insync.replicas"] = "2"
    return config


def _shown_id(topic_id: Any) -> str:
    return str(topic_id if isinstance(topic_id, uuid.UUID) else uuid.UUID(str(topic_id)))
