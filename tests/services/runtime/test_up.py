import os
import signal
import sys
import tomllib

import pytest
import redis
from kafka.admin import KafkaAdminClient

from schemas.errors import EngineError
from services.runtime.supervise import Supervisor
from services.runtime.up import SUITED_TO_TANSU
from streams.settings import Settings
from tests.services.runtime.processes import is_running, with_our_packages
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

UP = """
import sys
from pathlib import Path
from schemas.errors import StreamrecError
from services.runtime.up import run_up
from streams.logs import configure_logs
configure_logs()
try:
    run_up(Path(".streamrec"), kafka_home=Path(sys.argv[1]) if sys.argv[1:] else None)
except StreamrecError as error:
    sys.exit(f"streamrec: {error}")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def supervisor(folder):
    with Supervisor(folder / "logs", with_our_packages()) as one:
        yield one


def start_up(supervisor, name="up", *arguments):
    return supervisor.start(name, [sys.executable, "-c", UP, *arguments], ready="up.ready")


def pids_of(up):
    (ready,) = (event for event in up.events() if event["event"] == "up.ready")
    return [ready["broker_pid"], ready["store_pid"]]


def test_it_says_where_broker_and_store_are_and_settings_find_them(folder, supervisor):
    up = start_up(supervisor)
    written = tomllib.loads((folder / ".streamrec" / "up.toml").read_text())
    assert written.keys() == {"bootstrap_servers", "redis_url", "metrics_port", *SUITED_TO_TANSU}
    settings = Settings()
    assert {name: getattr(settings, name) for name in written} == written
    with redis.Redis.from_url(settings.redis_url) as client:
        assert client.ping()
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    assert admin.list_topics() == []
    admin.close()
    assert all(is_running(pid) for pid in pids_of(up))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(folder, supervisor, number):
    up = start_up(supervisor)
    pids = pids_of(up)
    os.kill(up.pid, number)
    assert up.wait(10) == 0
    assert not any(is_running(pid) for pid in pids)
    assert not (folder / ".streamrec" / "up.toml").exists()
    assert [event["event"] for event in up.events()] == ["up.ready", "up.stopped"]


@pytest.mark.parametrize(("which", "name"), [(0, "tansu"), (1, "valkey")])
def test_the_death_of_an_engine_ends_it_with_a_message(folder, supervisor, which, name):
    up = start_up(supervisor)
    pids = pids_of(up)
    os.kill(pids[which], signal.SIGKILL)
    assert up.wait(10) == 1
    assert f"streamrec: {name} was ended by SIGKILL; its log is" in up.log_path.read_text()
    assert not any(is_running(pid) for pid in pids)
    assert not (folder / ".streamrec" / "up.toml").exists()


def test_a_second_one_in_the_same_folder_is_refused(supervisor):
    up = start_up(supervisor)
    with pytest.raises(EngineError, match=rf"`streamrec up` already runs here \(process {up.pid}"):
        start_up(supervisor, "second")
    supervisor.check()


def test_after_a_kill_the_engines_are_gone_and_the_next_one_starts_empty(folder, supervisor):
    up = start_up(supervisor)
    pids = pids_of(up)
    with redis.Redis.from_url(Settings().redis_url) as client:
        client.set("left", "behind")
    up.kill()
    assert (folder / ".streamrec" / "up.toml").exists()
    wait_until(lambda: not any(is_running(pid) for pid in pids), 5)
    up.restart()
    up.wait_for_event("up.ready")
    with redis.Redis.from_url(Settings().redis_url) as client:
        assert client.keys() == []


def test_an_engine_that_cannot_start_ends_it_and_leaves_nothing(folder, supervisor):
    with pytest.raises(EngineError, match=r"has no bin/kafka-server-start\.sh"):
        start_up(supervisor, "up", str(folder))
    assert not (folder / ".streamrec" / "up.toml").exists()


@pytest.mark.kafka
def test_it_runs_apache_kafka_when_told_where_it_is(supervisor, kafka_home):
    up = start_up(supervisor, "up", str(kafka_home))
    assert up.events()[0]["broker"] == "kafka"
    up.terminate()
    assert up.wait(10) == 0
