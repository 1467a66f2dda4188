"""Start a broker or a store for one machine."""

from pathlib import Path

from services.runtime.engine import Engine
from services.runtime.kafka import Kafka, SaslListener
from services.runtime.ports import HOST
from services.runtime.tansu import Tansu
from services.runtime.valkey import Valkey

__all__ = ["Engine", "KafkaEngine", "SaslListener", "start_broker", "start_kafka", "start_store"]


class KafkaEngine(Engine):
    """An Apache Kafka, perhaps with a second, secure listener."""

    def __init__(self, server: Kafka, port: int = 0) -> None:
        self._kafka = server
        super().__init__(server, port)

    @property
    def sasl_address(self) -> str:
        """``127.0.0.1:port`` of the SASL_SSL listener.

        Raises:
            ValueError: it was started without one.
        """
        if not self._kafka.has_sasl:
            raise ValueError("this Kafka was started without a SASL_SSL listener")
        return f"{HOST}:{self._kafka.sasl_port}"


def start_broker(directory: Path, *, kafka_home: Path | None = None, port: int = 0) -> Engine:
    """Start a broker and return once it answers.

    Args:
        directory: its files and log; Apache Kafka goes on with the records it finds there.
        kafka_home: an unpacked Apache Kafka distribution; None starts Tansu, whose records live in memory.
        port: the port on 127.0.0.1; 0 picks a free one.

    Raises:
        EngineError: it is not installed or did not start; the message says what to do.
    """
    if kafka_home is not None:
        return start_kafka(directory, kafka_home, port=port)
    return Engine(Tansu(directory), port)


def start_kafka(directory: Path, home: Path, *, port: int = 0, sasl: SaslListener | None = None) -> KafkaEngine:
    """Start an Apache Kafka, with a SASL_SSL listener beside the plain one when ``sasl`` is given.

    Raises:
        EngineError: Java or the distribution is missing, or it did not start.
    """
    return KafkaEngine(Kafka(directory, home, sasl), port)


def start_store(directory: Path, *, appendonly: bool = False, port: int = 0) -> Engine:
    """Start a Valkey or Redis and return once it answers.

    Args:
        directory: its files and log.
        appendonly: keep an append-only file, so that a restart keeps the data.
        port: the port on 127.0.0.1; 0 picks a free one.

    Raises:
        EngineError: none is installed or it did not start; the message says what to do.
    """
    return Engine(Valkey(directory, is_durable=appendonly), port)
