"""The doctor: every check of a deployment, each a line that says what is wrong and what to do."""

from collections.abc import Callable, Iterator
from functools import partial

from schemas.errors import StreamrecError
from services.admin.bus import log_ends, open_admin
from services.admin.findings import Finding
from services.admin.model_checks import check_catalogue, check_embeddings, check_policy_models, check_torch
from services.admin.store_checks import check_clock, check_state, check_store, open_store
from services.admin.topics import check_topics
from streams.bus.topics import TopicInfo, describe_topics
from streams.settings import Settings

_START_BROKER = "start it (`streamrec up`), or set STREAMREC_BOOTSTRAP_SERVERS and STREAMREC_KAFKA_*"
_START_STORE = "start it (`streamrec up`), or set STREAMREC_REDIS_URL"


def examine(settings: Settings) -> list[Finding]:
    """Return every finding, in the order in which things depend on one another; nothing is changed."""
    topics: dict[str, TopicInfo] = {}
    return [
        *_guarded("broker", _START_BROKER, lambda: _examine_bus(settings, topics)),
        *_guarded("store", _START_STORE, lambda: _examine_store(settings, topics.get(settings.topic("ratings")))),
        *check_torch(),
    ]


def _guarded(check: str, remedy: str, examine_part: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a part; an error that ends it early is one more."""
    try:
        yield from examine_part()
    except StreamrecError as error:
        yield Finding(check, "fail", str(error), remedy)


def _examine_bus(settings: Settings, topics: dict[str, TopicInfo]) -> Iterator[Finding]:
    with open_admin(settings) as admin:
        yield Finding("broker", "ok", f"answers at {settings.bootstrap_servers} ({settings.kafka_security_protocol})")
        yield from check_topics(admin, settings)
        names = [settings.topic(role) for role in ("ratings", "items", "models")]
        topics |= describe_topics(admin, names)
    models = settings.topic("models")
    checks = ((settings.topic("items"), check_catalogue), (models, check_embeddings), (models, check_policy_models))
    for name, check in checks:
        if name in topics:
            yield from _guarded(f"topic {name}", "look at the broker's log", partial(check, settings))


def _examine_store(settings: Settings, topic: TopicInfo | None) -> Iterator[Finding]:
    client = open_store(settings)
    try:
        yield from check_store(client)
        yield check_clock(client)
        if topic is not None:
            ends = log_ends(settings, topic)
            yield from _guarded("state", "look at the store's log", lambda: check_state(client, settings, topic, ends))
    finally:
        client.close()
