"""Servers for the tests that need real ones: started once a session, shared, each test in a namespace of its own."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from kafka.admin import KafkaAdminClient

from schemas.topics import TOPICS
from services.runtime.engines import Engine, start_broker, start_store
from streams.settings import Settings

# No test is timed: a machine that does other work is no fault of the code's.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")

KAFKA_HOME = os.environ.get("KAFKA_HOME")
BROKERS = ["tansu", *([pytest.param("kafka", marks=pytest.mark.kafka)] if KAFKA_HOME else [])]


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_the_developers_shell():
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("STREAMREC_"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def kafka_home() -> Path:
    """The unpacked Apache Kafka distribution, for tests that start one of their own."""
    if not KAFKA_HOME:
        pytest.skip("needs Apache Kafka: set KAFKA_HOME to an unpacked distribution")
    return Path(KAFKA_HOME)


@pytest.fixture(scope="session")
def tansu_broker(tmp_path_factory) -> Iterator[Engine]:
    """A running Tansu, shared: do not stop it."""
    with start_broker(tmp_path_factory.mktemp("tansu")) as engine:
        yield engine


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory, kafka_home) -> Iterator[Engine]:
    """A running Apache Kafka, shared: do not stop it. Skipped without KAFKA_HOME; mark the test ``kafka``."""
    with start_broker(tmp_path_factory.mktemp("kafka"), kafka_home=kafka_home) as engine:
        yield engine


@pytest.fixture(scope="session", params=BROKERS)
def broker(request) -> Engine:
    """Each broker in turn: Tansu always, Apache Kafka where KAFKA_HOME is set. Shared: do not stop it."""
    return request.getfixturevalue(f"{request.param}_broker")


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Iterator[Engine]:
    """A running Valkey, shared: do not stop or flush it, use the namespace in ``settings``."""
    with start_store(tmp_path_factory.mktemp("store")) as engine:
        yield engine


@pytest.fixture
def make_settings(tmp_path) -> Callable[..., Settings]:
    """A maker of settings whose topics, keys, groups and models are this call's own; values given override."""

    def make(**values) -> Settings:
        unique = uuid.uuid4().hex[:10]
        own = {"topic_prefix": f"{unique}.", "namespace": f"t-{unique}", "model_dir": str(tmp_path / "models")}
        return Settings(**own | values)

    return make


@pytest.fixture
def settings(broker, store, make_settings) -> Settings:
    """Settings for the running broker and store; topics are not made yet."""
    return make_settings(bootstrap_servers=broker.url, redis_url=store.url)


@pytest.fixture
def admin(broker) -> Iterator[KafkaAdminClient]:
    """A kafka-python admin client of ``broker``."""
    client = KafkaAdminClient(bootstrap_servers=broker.url)
    yield client
    client.close()


@pytest.fixture
def topics(admin, settings) -> Settings:
    """The same ``settings``, with every topic of the contract made on the broker."""
    kept = {"num_partitions": settings.partitions, "replication_factor": settings.replication}
    wanted = {settings.topic(role): {**kept, "configs": spec.config} for role, spec in TOPICS.items()}
    admin.create_topics(wanted, wait_for_metadata=True)
    return settings
