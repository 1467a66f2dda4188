"""Systems of their own for the tests that run everything together: one a module, on each broker in turn."""

import uuid
from collections.abc import Callable, Iterator

import pytest

from streams.settings import Settings
from tests.integration.any_client import Client
from tests.integration.system import System


@pytest.fixture(scope="module")
def own_settings(broker, store, tmp_path_factory) -> Callable[..., Settings]:
    """A maker of settings for the running broker and store, with names of their own; values given override."""

    def make(**values) -> Settings:
        unique = uuid.uuid4().hex[:10]
        own = {
            "bootstrap_servers": broker.url,
            "redis_url": store.url,
            "topic_prefix": f"{unique}.",
            "namespace": f"t-{unique}",
            "model_dir": str(tmp_path_factory.mktemp("models")),
            "fetch_wait_ms": 30,
            "session_timeout_s": 1.5,
            "rebalance_timeout_s": 2,
            "topic_check_s": 10 if "kafka" in broker.name else 0,
        }
        return Settings(**own | values)

    return make


@pytest.fixture(scope="module")
def make_system(own_settings, tmp_path_factory) -> Iterator[Callable[..., System]]:
    """A maker of systems that are ended with the module; values given override settings."""
    systems: list[System] = []

    def make(**values) -> System:
        system = System(own_settings(**values), tmp_path_factory.mktemp("logs"))
        systems.append(system)
        return system

    yield make
    for system in systems:
        system.close()


@pytest.fixture(scope="module")
def system(make_system) -> System:
    """One system with a worker and a scorer that are ready."""
    system = make_system()
    system.start("worker", "scorer")
    return system


@pytest.fixture(scope="module")
def client(system, broker) -> Iterator[Client]:
    """A client of ``system`` that knows nothing of streamrec but the contract."""
    client = Client(broker.url, system.settings.topic_prefix)
    yield client
    client.close()
