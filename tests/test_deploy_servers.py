"""What docker-compose.yml says of Kafka and Redis, given to real servers, and the images' health check."""

import importlib.util
import re
from contextlib import closing
from pathlib import Path

import pytest
import redis
import yaml
from kafka.admin import ConfigResource, ConfigResourceType

from services.runtime.engine import Command, Engine, plain_environment
from services.runtime.metadata import cluster_id_of
from services.runtime.ports import free_ports
from services.runtime.process import Process
from services.runtime.valkey import Valkey
from streams.bus.clients import make_admin
from streams.endpoint import listed_endpoints, serve_endpoint
from streams.settings import Settings

ROOT = Path(__file__).parents[1]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture(scope="module")
def health():
    """The script ``deploy/health.py``, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("health", ROOT / "deploy/health.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_to_its_end(argv: list[str], directory: Path) -> Process:
    """Return the ended process of a command; a test that fails ends it with its group."""
    name = Path(argv[0]).stem
    process = Process(name, argv, log_path=directory / f"{name}.log", environment=plain_environment())
    if not process.wait(90.0):
        process.kill()
        pytest.fail(f"{name} did not end within 90 s: {process.log_text()}")
    return process


class ComposedRedis(Valkey):
    """A store started with the command of the compose file."""

    def prepare(self, port: int) -> Command:
        program = super().prepare(port).argv[0]
        return Command([program, "--port", str(port), *SERVICES["redis"]["command"][1:]], {})


class ComposedKafka:
    """An unpacked Apache Kafka with the environment of the compose file, made properties as the image does."""

    name = "kafka"
    ready_timeout_s = 90.0
    url_format = "{address}"

    def __init__(self, directory: Path, home: Path) -> None:
        self.directory = directory
        self.home = home
        environment = SERVICES["kafka"]["environment"]
        self.cluster_id = environment["CLUSTER_ID"]
        self.properties = {
            name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
            for name, value in environment.items()
            if name.startswith("KAFKA_")
        }

    def prepare(self, port: int) -> Command:
        """Write the properties, with this machine's ports, host and folder in place of the network's, and format."""
        inside, controller = free_ports(2)
        ports = {"9092": port, "19092": inside, "29093": controller}
        text = "\n".join(f"{name}={value}" for name, value in self.properties.items())
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text).replace("kafka:", "localhost:")
        text = re.sub(r"(?<=:)(9092|19092|29093)\b", lambda found: str(ports[found[0]]), text)
        text = text.replace("/var/lib/kafka/data", str(self.directory / "data"))
        file = self.directory / "server.properties"
        file.write_text(text + "\n")
        format_storage = [str(self.home / "bin/kafka-storage.sh"), "format", "--cluster-id", self.cluster_id]
        formatted = run_to_its_end([*format_storage, "--config", str(file)], self.directory)
        assert formatted.returncode == 0, formatted.log_text()
        return Command([str(self.home / "bin/kafka-server-start.sh"), str(file)], {})

    def answers(self, port: int, pid: int) -> bool:  # noqa: ARG002 - the cluster id is proof enough
        return cluster_id_of(port) == self.cluster_id


@pytest.mark.integration
def test_redis_takes_the_command_of_the_compose_file(tmp_path):
    with Engine(ComposedRedis(tmp_path, is_durable=True)) as engine, redis.Redis.from_url(engine.url) as client:
        read = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save")
    assert read == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}


@pytest.mark.integration
@pytest.mark.kafka
def test_kafka_starts_with_the_environment_of_the_compose_file_and_makes_no_topic_unasked(tmp_path, kafka_home):
    with (
        Engine(ComposedKafka(tmp_path, kafka_home)) as engine,
        closing(make_admin(Settings(bootstrap_servers=engine.url))) as admin,
    ):
        (broker,) = admin.describe_cluster()["brokers"]
        resource = ConfigResource(ConfigResourceType.BROKER, str(broker["broker_id"]))
        read = admin.describe_configs([resource], config_filter="all")
    ((_id, configs),) = read["broker"].items()
    given = {name: configs[name]["value"] for name in ("auto.create.topics.enable", "offsets.topic.replication.factor")}
    assert given == {"auto.create.topics.enable": "false", "offsets.topic.replication.factor": "1"}
    assert (broker["host"], broker["port"]) == ("localhost", engine.port)


def test_a_container_whose_process_cannot_work_says_why(tmp_path, monkeypatch, health):
    monkeypatch.chdir(tmp_path)
    with serve_endpoint(Settings(metrics_port=0), "worker") as process:
        (url,) = listed_endpoints()
        monkeypatch.setenv("STREAMREC_METRICS_PORT", url.rsplit(":", 1)[1])
        assert health.main() == "starting"
        process.begin("")
        assert health.main() == 0
        process.watch(lambda: ["partition 2 is stalled", "the store did not answer"])
        assert health.main() == "partition 2 is stalled; the store did not answer"
    assert re.fullmatch(r"http://127.0.0.1:\d+/readyz does not answer: .*refused.*", health.main())


def test_a_container_that_serves_no_endpoint_is_not_healthy(monkeypatch, health):
    monkeypatch.delenv("STREAMREC_METRICS_PORT", raising=False)
    assert "does not answer" in health.main()
