"""What docker-compose.yml says of Kafka and Redis, given to real servers, and the images' health check."""

import importlib.util
import json
import re
from contextlib import closing
from pathlib import Path

import pytest
import redis
import yaml
from kafka.admin import ConfigResource, ConfigResourceType

from services.runtime.engine import Command, Engine, plain_environment
from services.runtime.engines import start_store
from services.runtime.metadata import cluster_id_of
from services.runtime.ports import free_ports
from services.runtime.process import Process
from services.runtime.valkey import Valkey
from streams.bus.clients import make_admin, make_consumer
from streams.settings import Settings
from tests.waiting import wait_until

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


@pytest.mark.integration
@pytest.mark.kafka
def test_a_container_is_healthy_while_the_broker_counts_it_in_its_group(
    kafka_broker, store, make_settings, health, request
):
    settings = make_settings(bootstrap_servers=kafka_broker.url, redis_url=store.url)
    topic = settings.topic("ratings")
    with closing(make_admin(settings)) as admin:
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    assert health.find_fault(settings, "worker", {"127.0.0.1"}).startswith("worker: ")
    consumer = make_consumer(settings, group_id=settings.group_worker, auto_offset_reset="earliest")
    request.addfinalizer(consumer.close)
    consumer.subscribe([topic])

    def is_assigned() -> bool:
        consumer.poll(100)
        return bool(consumer.assignment())

    wait_until(is_assigned, message="the consumer has partitions")
    assert health.find_fault(settings, "worker", {"127.0.0.1"}) == ""
    assert "none of the 1 members" in health.find_fault(settings, "worker", {"192.0.2.1"})
    assert health.find_fault(settings, "scorer", {"127.0.0.1"}).startswith("scorer: ")


@pytest.mark.integration
def test_a_container_without_its_store_is_not_healthy(tmp_path, make_settings, health):
    with start_store(tmp_path) as engine:
        settings = make_settings(redis_url=engine.url)
    assert health.find_fault(settings, "scorer", {"127.0.0.1"}).startswith("scorer: ")


def test_a_role_that_there_is_not_fails_the_health_check(health):
    assert health.main(["trainer"]) == "usage: health.py worker | scorer"


def test_this_hosts_own_addresses_are_known(health):
    assert health.own_addresses()


def test_a_member_is_known_by_the_address_it_connects_from(health):
    described = json.loads('[{"client_host": "/172.18.0.4"}, {"client_host": "/172.18.0.5"}]')
    assert health.is_member(described, {"172.18.0.5"})
    assert not health.is_member(described, {"172.18.0.6"})
    assert not health.is_member([], {"172.18.0.6"})
