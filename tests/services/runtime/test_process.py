import os
import signal
import sys

import pytest

from schemas.errors import EngineError
from services.runtime.process import Process
from tests.services.runtime.processes import is_running
from tests.waiting import wait_until

STUBBORN = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
PARENT = (
    "import signal, subprocess; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); signal.pause()"
)


@pytest.fixture
def run(tmp_path):
    started = []

    def start(program):
        argv = [sys.executable, "-c", program]
        process = Process("thing", argv, log_path=tmp_path / "logs" / "thing.log", environment=os.environ)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def test_output_and_errors_go_to_the_log(run):
    process = run("import sys; print('out', flush=True); print('err', file=sys.stderr)")
    assert process.wait(10)
    assert process.log_path.read_text() == "out\nerr\n"


def test_how_it_ended_is_told_with_code_path_and_last_lines(run):
    process = run("print('first'); print('last'); raise SystemExit(7)")
    process.wait(10)
    assert process.describe_end() == (
        f"thing ended with exit code 7; its log is {process.log_path}\n    first\n    last"
    )


def test_a_signal_is_told_by_name(run):
    process = run("import os; os.kill(os.getpid(), 6)")
    process.wait(10)
    assert "thing was ended by SIGABRT" in process.describe_end()


def test_what_does_not_end_when_asked_is_killed(run):
    process = run(STUBBORN)
    wait_until(lambda: process.log_path.read_text() == "up\n")
    process.stop(timeout_s=0.2)
    assert process.returncode == -signal.SIGKILL


def test_stopping_ends_the_whole_group(run):
    process = run(PARENT)
    grandchild = int(wait_until(process.log_path.read_text))
    process.stop()
    wait_until(lambda: not is_running(grandchild), 5)


def test_a_process_is_asked_to_end_once(run):
    process = run("""
import signal
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
""")
    wait_until(lambda: "ready" in process.log_path.read_text())
    process.terminate()
    wait_until(lambda: "asked" in process.log_path.read_text())
    process.stop(timeout_s=0.5)
    assert process.log_path.read_text().count("asked") == 1


def test_what_a_dead_process_left_behind_is_killed(run):
    process = run(PARENT)
    grandchild = int(wait_until(process.log_path.read_text))
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10)
    wait_until(lambda: not is_running(grandchild), 5)


def test_last_lines_are_those_of_this_run(run):
    run("print('old')").wait(10)
    process = run("print('new')")
    process.wait(10)
    assert process.last_lines() == "\n    new"
    assert process.log_path.read_text() == "old\nnew\n"


def test_a_program_that_is_not_there_is_an_engine_error(tmp_path):
    with pytest.raises(EngineError, match="thing cannot be started as /nowhere/at/all"):
        Process("thing", ["/nowhere/at/all"], log_path=tmp_path / "log", environment={})
