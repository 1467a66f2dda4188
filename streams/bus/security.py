"""One security setting, applied alike to every Kafka client."""

import ssl
from typing import Any

from schemas.errors import ConfigurationError
from streams.settings import Settings


def make_ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context the settings ask for, None for a plaintext protocol.

    Raises:
        ConfigurationError: a certificate or key file cannot be read.
    """
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
        if settings.kafka_ssl_certfile:
            context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    except (OSError, ssl.SSLError) as error:
        files = f"{settings.kafka_ssl_cafile}, {settings.kafka_ssl_certfile}, {settings.kafka_ssl_keyfile}"
        raise ConfigurationError(f"TLS files ({files}) cannot be loaded: {error}") from error
    return context


def security_arguments(settings: Settings) -> dict[str, Any]:
    """Return the arguments that kafka-python and aiokafka clients share.

    >>> from streams.settings import load_settings
    >>> security_arguments(load_settings())["security_protocol"]
    'PLAINTEXT'
    """
    arguments: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    context = make_ssl_context(settings)
    if context is not None:
        arguments["ssl_context"] = context
    if settings.kafka_security_protocol.startswith("SASL_"):
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = settings.kafka_sasl_username
        arguments["sasl_plain_password"] = settings.kafka_sasl_password
    return arguments
