"""Blocking Kafka clients (kafka-python) with this project's defaults: nothing is silently skipped or committed."""

from typing import Any

import crc32c  # noqa: F401 - without it kafka-python checks sums in pure Python, five times slower
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from schemas.errors import ConfigurationError
from streams.bus.security import security_arguments
from streams.settings import Settings

CONNECT_TIMEOUT_MS = 10_000


def _common(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap_servers": [server.strip() for server in settings.bootstrap_servers.split(",")],
        "bootstrap_timeout_ms": CONNECT_TIMEOUT_MS,
        **security_arguments(settings),
    }


def _connect(kind: Any, settings: Settings, **arguments: Any) -> Any:
    try:
        return kind(**_common(settings), **arguments)
    except (KafkaError, OSError) as error:
        raise ConfigurationError(
            f"no Kafka answers at {settings.bootstrap_servers} ({settings.kafka_security_protocol}): {error!r}; "
            "start one (`streamrec up`) or set STREAMREC_BOOTSTRAP_SERVERS"
        ) from error


def make_producer(settings: Settings, **overrides: Any) -> Any:
    """Return a producer that waits for every replica and keeps each partition's order.

    Raises:
        ConfigurationError: no broker answers.
    """
    arguments = {"acks": "all", "linger_ms": 2, "batch_size": 256 * 1024, "allow_auto_create_topics": False}
    return _connect(KafkaProducer, settings, **(arguments | overrides))


def make_consumer(settings: Settings, **overrides: Any) -> Any:
    """Return a consumer without group, automatic commits or automatic reset, reading committed records only.

    Raises:
        ConfigurationError: no broker answers.
    """
    arguments = {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "allow_auto_create_topics": False,
        "fetch_max_wait_ms": settings.fetch_wait_ms,
    }
    return _connect(KafkaConsumer, settings, **(arguments | overrides))


def make_admin(settings: Settings) -> Any:
    """Return an admin client.

    Raises:
        ConfigurationError: no broker answers.
    """
    return _connect(KafkaAdminClient, settings)
