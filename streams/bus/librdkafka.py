"""librdkafka's clients (confluent-kafka) with this project's defaults; its work is done beside Python, not in it."""

from typing import Any

import structlog
from confluent_kafka import Producer

from streams.settings import Settings

log = structlog.get_logger(__name__)


def make_librdkafka_producer(settings: Settings) -> Any:
    """Return a producer that waits for every replica and keeps each partition's order."""
    return Producer(
        common_arguments(settings)
        | {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 1,
            "batch.size": 256 * 1024,
            "partitioner": "murmur2_random",
        }
    )


def common_arguments(settings: Settings) -> dict[str, Any]:
    """Return what librdkafka's clients share: where the broker is, and how it is reached.

    >>> from streams.settings import load_settings
    >>> common_arguments(load_settings())["security.protocol"]
    'PLAINTEXT'
    """
    wanted = {
        "bootstrap.servers": settings.bootstrap_servers,
        "allow.auto.create.topics": False,
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": settings.kafka_sasl_password,
        "ssl.ca.location": settings.kafka_ssl_cafile,
        "ssl.certificate.location": settings.kafka_ssl_certfile,
        "ssl.key.location": settings.kafka_ssl_keyfile or settings.kafka_ssl_certfile,
        "error_cb": lambda error: log.warning("bus.unavailable", error=str(error)),
    }
    return {name: value for name, value in wanted.items() if value is not None}
