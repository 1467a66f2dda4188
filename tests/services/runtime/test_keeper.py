import os
import signal
import subprocess
import sys

import pytest

from services.runtime.keeper import Keeper, watch
from tests.services.runtime.processes import is_running, with_our_packages
from tests.waiting import wait_until


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def test_a_group_still_listed_when_the_pipe_closes_is_killed(sleeper):
    watch([f"+{sleeper.pid}\n"])
    assert sleeper.wait(5) == -signal.SIGKILL


def test_a_group_taken_off_the_list_is_left_alone(sleeper):
    watch([f"+{sleeper.pid}\n", f"-{sleeper.pid}\n"])
    assert sleeper.poll() is None


def test_a_group_that_is_gone_already_is_no_error(sleeper):
    sleeper.kill()
    sleeper.wait()
    watch([f"+{sleeper.pid}\n"])


def test_closing_the_keeper_kills_what_it_keeps(sleeper):
    keeper = Keeper()
    keeper.add(sleeper.pid)
    keeper.close()
    assert sleeper.wait(5) == -signal.SIGKILL


def test_a_watcher_that_was_killed_is_replaced_and_told_everything(sleeper):
    keeper = Keeper()
    keeper.add(sleeper.pid)
    os.kill(keeper._watcher.pid, signal.SIGKILL)
    keeper._watcher.wait()
    keeper.add(2**30)
    keeper.close()
    assert sleeper.wait(5) == -signal.SIGKILL


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_engines_die_with_the_process_that_started_them(tmp_path, number):
    program = (
        "import sys, signal; from pathlib import Path; from services.runtime.engines import start_broker, start_store\n"
        "d = Path(sys.argv[1]); print(start_broker(d / 'b').pid, start_store(d / 's').pid, flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, env=with_our_packages(), text=True
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_running(pid) for pid in pids)
        parent.send_signal(number)
    wait_until(lambda: not any(is_running(pid) for pid in pids), 5, "engines outlived their parent")


@pytest.mark.integration
def test_a_forked_child_does_not_keep_the_engines_alive(tmp_path):
    program = (
        "import os, sys, signal; from pathlib import Path; from services.runtime.engines import start_store\n"
        "store = start_store(Path(sys.argv[1])); child = os.fork()\n"
        "if child: print(store.pid, child, flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, env=with_our_packages(), text=True
    ) as parent:
        store, child = (int(pid) for pid in parent.stdout.readline().split())
        parent.kill()
    try:
        wait_until(lambda: not is_running(store), 5, "the forked child kept the pipe open")
        assert is_running(child)
    finally:
        os.kill(child, signal.SIGKILL)
