"""Topics as the broker has them: made, described, and named by id."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka.errors import (
    InvalidTopicError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from schemas.errors import BusUnavailable, ConfigurationError
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
    """Return what the broker has of topics; those it has not are left out.

    Raises:
        BusUnavailable: the broker cannot say now (no leader yet, say); asking again is safe.
        ConfigurationError: the broker refuses to say, as an access list tells it to.
    """
    found = {}
    for topic in admin.describe_topics(list(names)):
        name, code = topic["name"], topic.get("error_code", 0)
        if code == UnknownTopicOrPartitionError.errno:
            continue
        if code in {TopicAuthorizationFailedError.errno, InvalidTopicError.errno}:
            raise ConfigurationError(f"topic {name!r} cannot be described: {for_code(code).__name__}")
        if code or not topic.get("partitions"):
            raise BusUnavailable(f"topic {name!r} cannot be described now: {for_code(code).__name__}")
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
