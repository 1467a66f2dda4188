import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from schemas.errors import EngineError
from services.runtime.supervise import Supervisor
from tests.services.runtime.processes import is_running, with_our_packages
from tests.waiting import wait_until

# A stand-in for a worker: it says what a worker says, and ends on SIGTERM as one does.
WORKER = """
import json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print('{"event": "worker.stopped"}'), sys.exit(0)))
print("starting, and this is no JSON", file=sys.stderr)
print(json.dumps({"event": "worker.ready", "partitions": [0, 1], "colour": os.environ.get("COLOUR")}), file=sys.stderr)
signal.pause()
"""
STUBBORN = WORKER.replace("signal.signal(", "signal.signal(signal.SIGTERM, signal.SIG_IGN) or (", 1)


@pytest.fixture
def supervisor(tmp_path):
    with Supervisor(tmp_path) as one:
        yield one


def python(program):
    return [sys.executable, "-c", program]


def test_start_returns_once_the_log_shows_the_ready_event(supervisor, tmp_path):
    child = supervisor.start("worker", python(WORKER), ready="worker.ready")
    assert [event["event"] for event in child.events()] == ["worker.ready"]
    assert child.log_path == tmp_path / "worker.log"
    supervisor.check()


def test_the_ready_event_can_be_read(supervisor):
    child = supervisor.launch("worker", python(WORKER))
    assert child.wait_for_event("worker.ready")["partitions"] == [0, 1]


def test_children_get_our_environment_then_the_supervisors_then_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("COLOUR", "ours")
    with Supervisor(tmp_path, {"COLOUR": "the supervisor's"}) as supervisor:
        first = supervisor.start("first", python(WORKER), ready="worker.ready")
        second = supervisor.start("second", python(WORKER), ready="worker.ready", environment={"COLOUR": "its own"})
        assert [child.events()[0]["colour"] for child in (first, second)] == ["the supervisor's", "its own"]


def test_a_child_that_ends_before_it_is_ready_is_reported_at_once(supervisor):
    program = "print('no broker at localhost:1'); raise SystemExit(3)"
    with pytest.raises(EngineError, match=r"(?s)no worker\.ready: worker ended with exit code 3; .*no broker at local"):
        supervisor.start("worker", python(program), ready="worker.ready")


def test_a_child_that_is_not_ready_in_time_is_ended(supervisor):
    with pytest.raises(EngineError, match=r"no never within 0\.3 s: worker is running; its log is"):
        supervisor.start("worker", python(WORKER), ready="never", timeout_s=0.3)
    supervisor.check()


def test_a_later_death_is_reported(supervisor):
    child = supervisor.start("worker", python(WORKER), ready="worker.ready")
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    with pytest.raises(EngineError, match="worker was ended by SIGKILL; its log is"):
        supervisor.check()


def test_an_end_that_was_asked_for_is_no_death(supervisor):
    child = supervisor.start("worker", python(WORKER), ready="worker.ready")
    child.stop()
    assert child.returncode == 0
    assert [event["event"] for event in child.events()] == ["worker.ready", "worker.stopped"]
    supervisor.check()


def test_watching_ends_with_the_first_death(supervisor):
    child = supervisor.start("worker", python(WORKER), ready="worker.ready")
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="worker was ended by SIGKILL"):
        supervisor.watch(until=threading.Event())


def test_watching_can_hand_the_death_to_a_callback(supervisor):
    child = supervisor.start("worker", python(WORKER), ready="worker.ready")
    deaths = []
    watcher = threading.Thread(target=supervisor.watch, args=(threading.Event(), deaths.append))
    watcher.start()
    os.kill(child.pid, signal.SIGKILL)
    watcher.join(10)
    assert [str(death).partition(";")[0] for death in deaths] == ["worker was ended by SIGKILL"]


def test_watching_ends_when_told_so(supervisor):
    supervisor.start("worker", python(WORKER), ready="worker.ready")
    until = threading.Event()
    until.set()
    supervisor.watch(until)


def test_a_killed_child_starts_again_under_its_name_and_log(supervisor):
    child = supervisor.start("worker", python(WORKER), ready="worker.ready")
    before = child.pid
    child.kill()
    with pytest.raises(EngineError):
        supervisor.check()
    child.restart()
    child.wait_for_event("worker.ready")
    assert child.pid != before
    assert len(child.events()) == 1
    assert child.log_path.read_text().count("worker.ready") == 2
    supervisor.check()


def test_a_name_is_used_once(supervisor):
    supervisor.launch("worker", python(WORKER))
    with pytest.raises(ValueError, match="a child named worker was started before"):
        supervisor.launch("worker", python(WORKER))


def test_stopping_ends_all_children_within_the_time_even_one_that_does_not_listen(tmp_path):
    supervisor = Supervisor(tmp_path)
    programs = {"worker": WORKER, "stubborn": STUBBORN, "scorer": WORKER}
    children = [supervisor.start(name, python(program), ready="worker.ready") for name, program in programs.items()]
    began = time.monotonic()
    supervisor.stop(timeout_s=1.0)
    # One second for all together, and some for a busy machine.
    assert time.monotonic() - began < 5
    assert [child.returncode for child in children] == [0, -signal.SIGKILL, 0]


def test_what_was_adopted_is_watched_and_ended_after_the_children(tmp_path):
    order = []

    class Engine:
        def check(self):
            if order == ["dies"]:
                raise EngineError("the engine died")

        def terminate(self):
            order.append("asked")

        def stop(self, timeout_s=10.0):
            order.append((child.returncode, timeout_s > 0))

    with Supervisor(tmp_path) as supervisor:
        supervisor.adopt(Engine())
        child = supervisor.start("worker", python(WORKER), ready="worker.ready")
        supervisor.check()
        order.append("dies")
        with pytest.raises(EngineError, match="the engine died"):
            supervisor.check()
        order.clear()
    assert order == ["asked", (0, True)]


def test_a_line_still_being_written_is_read_when_it_is_whole(supervisor):
    program = (
        "import sys, signal; w = sys.stdout; w.write('{\"event\": '); w.flush(); sys.stdin.read();"
        "w.write('\"whole\"}\\n'); w.flush(); signal.pause()"
    )
    child = supervisor.launch("worker", python(program))
    assert child.wait_for_event("whole") == {"event": "whole"}


@pytest.mark.integration
def test_children_die_with_their_parent(tmp_path):
    program = (
        "import sys, signal; from pathlib import Path; from services.runtime.supervise import Supervisor\n"
        "child = Supervisor(Path(sys.argv[1])).launch('child', ['sleep', '60']); print(child.pid, flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, env=with_our_packages(), text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    wait_until(lambda: not is_running(pid), 5)
