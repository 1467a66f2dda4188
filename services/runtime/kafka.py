"""Apache Kafka from an unpacked distribution: one node that is broker and controller, its data in a directory."""

import base64
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import EngineError
from services.runtime.engine import Command, plain_environment
from services.runtime.metadata import cluster_id_of
from services.runtime.ports import HOST, free_ports
from services.runtime.process import Process

_PROPERTIES = "server.properties"
_KEYSTORE = "keystore.pem"
_DATA = "data"
_FORMAT_TIMEOUT_S = 60.0
_MECHANISM = "SCRAM-SHA-512"
_OVERRIDABLE = ("KAFKA_HEAP_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_OPTS")


@dataclass(frozen=True, slots=True)
class SaslListener:
    """A second listener: SASL_SSL with SCRAM-SHA-512 and one user, made when the data directory is formatted.

    Attributes:
        username: the user.
        password: the user's password.
        keystore: a PEM file with the server's private key (PKCS #8, not encrypted) and its certificate chain.
    """

    username: str
    password: str
    keystore: Path

    def __repr__(self) -> str:
        return f"SaslListener(username={self.username!r}, keystore={self.keystore!r})"


class Kafka:
    """Apache Kafka 4 in KRaft mode; a restart keeps its records.

    Args:
        directory: settings, data and logs; data already there is used.
        home: the unpacked distribution.
        sasl: the second listener; None for none.

    Attributes:
        sasl_port: the second listener's port; 0 without one.
    """

    name = "kafka"
    ready_timeout_s = 90.0
    url_format = "{address}"

    def __init__(self, directory: Path, home: Path, sasl: SaslListener | None = None) -> None:
        self.directory = directory
        self.sasl_port = 0
        self._home = home.resolve()
        self._sasl = sasl
        self._port = 0
        self._cluster_id = ""
        self._check_requirements()

    def prepare(self, port: int) -> Command:
        """Write the settings, format the data directory the first time, and return how to run the server."""
        if port != self._port:
            self._port = port
            controller_port, self.sasl_port = free_ports(2)
            self._write_settings(controller_port)
        if not self._meta_properties.exists():
            self._format()
        self._cluster_id = self._read_cluster_id()
        return Command([str(self._script("kafka-server-start.sh")), _PROPERTIES], self._environment())

    def answers(self, port: int, pid: int) -> bool:  # noqa: ARG002 - the cluster id is proof enough
        """Return whether the broker on ``port`` is the one just started."""
        return cluster_id_of(port) == self._cluster_id

    @property
    def has_sasl(self) -> bool:
        """Whether there is a second listener."""
        return self._sasl is not None

    @property
    def _meta_properties(self) -> Path:
        return self.directory / _DATA / "meta.properties"

    def _script(self, name: str) -> Path:
        return self._home / "bin" / name

    def _check_requirements(self) -> None:
        for name in ("kafka-server-start.sh", "kafka-storage.sh"):
            if not self._script(name).is_file():
                raise EngineError(
                    f"KAFKA_HOME must be an unpacked Apache Kafka 4 distribution: {self._home} has no bin/{name}"
                )
        java_home = os.environ.get("JAVA_HOME")
        if not (shutil.which("java", path=f"{java_home}/bin") if java_home else shutil.which("java")):
            where = f"JAVA_HOME ({java_home}) has no bin/java" if java_home else "there is no java on PATH"
            raise EngineError(f"Apache Kafka needs Java 17 or newer, and {where}")

    def _environment(self) -> dict[str, str]:
        """Return small defaults for one node on a developer's machine; the variables Kafka itself knows win."""
        defaults = {
            "KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m",
            "KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -Djava.awt.headless=true",
            # Java reads its working directory by the locale, and dies of a name that the plain C locale cannot say.
            "LC_ALL": "C.UTF-8",
            "LOG_DIR": str(self.directory.resolve() / "logs"),
        }
        return defaults | {name: os.environ[name] for name in _OVERRIDABLE if name in os.environ}

    def _write_settings(self, controller_port: int) -> None:
        listeners = {"PLAINTEXT": self._port}
        if self._sasl is not None:
            listeners["SASL_SSL"] = self.sasl_port
            keystore = self.directory / _KEYSTORE
            keystore.touch(mode=0o600)
            keystore.write_bytes(self._sasl.keystore.read_bytes())
        advertised = ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "listeners": f"{advertised},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": advertised,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
            "log.dirs": _DATA,
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # A broker that was killed registers again only when its old session has run out.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "2",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
        }
        if self._sasl is not None:
            settings |= {
                "sasl.enabled.mechanisms": _MECHANISM,
                f"listener.name.sasl_ssl.{_MECHANISM.lower()}.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": _KEYSTORE,
            }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.directory / _PROPERTIES).write_text(text, encoding="ascii")

    def _format(self) -> None:
        argv = [str(self._script("kafka-storage.sh")), "format", "--config", _PROPERTIES, "--cluster-id", _new_id()]
        if self._sasl is not None:
            user = f"name={self._sasl.username},password={self._sasl.password}"
            argv += ["--add-scram", f"{_MECHANISM}=[{user}]"]
        # The tool runs for a second, so the optimising compiler costs more than it gives.
        environment = self._environment() | {"KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}
        tool = Process(
            "kafka-storage.sh",
            argv,
            log_path=self.directory / "format.log",
            environment=plain_environment() | environment,
            directory=self.directory,
        )
        tool.wait(_FORMAT_TIMEOUT_S)
        if tool.returncode != 0:
            tool.kill()
            raise EngineError(f"Apache Kafka could not format {self.directory / _DATA}: {tool.describe_end()}")

    def _read_cluster_id(self) -> str:
        for line in self._meta_properties.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name == "cluster.id":
                return value
        raise EngineError(f"{self._meta_properties} names no cluster.id")


def _new_id() -> str:
    """Return a cluster id as Kafka writes them, 16 bytes in base64 for URLs, that does not look like an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
