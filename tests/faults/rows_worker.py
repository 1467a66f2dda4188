"""Rows in which workers are ended, held up or doubled."""

import os
import random
import signal
import time

from services.runtime.supervise import Child
from streams.store.writer import Watermark
from tests.faults.stage import PromiseBrokenError, Stage, pause
from tests.integration.system import end
from tests.waiting import wait_until

SETTLED_S = 0.5


def _kill_at(point: str, latest: int = 6):
    def row(stage: Stage, draws: random.Random) -> float:
        worker = stage.first_worker()
        with stage.traffic(draws):
            stage.arm(point, "kill", draws.randint(1, latest))
            wait_until(lambda: worker.returncode is not None, 30, f"the worker dies {point}")
            mark, since = stage.progress(), time.monotonic()
            worker.restart()
            return stage.recovery_s(since, mark)

    return row


kill_before_script = _kill_at("before_script")
kill_after_script = _kill_at("after_script")
kill_before_hint = _kill_at("before_hint", latest=1)
kill_in_dead_letter = _kill_at("in_dead_letter")


def terminate_in_batch(stage: Stage, draws: random.Random) -> float:
    """SIGTERM while a batch is between reading and committing."""
    worker = stage.first_worker()
    with stage.traffic(draws):
        stage.arm("before_script", "hold", draws.randint(1, 4))
        stage.wait_until_held()
        began = time.monotonic()
        code = end(worker)
        if code != 0:
            raise PromiseBrokenError(
                f"a worker told to end in mid-batch ended with {code} after {time.monotonic() - began:.1f} s"
            )
        mark, since = stage.progress(), time.monotonic()
        worker.restart()
        return stage.recovery_s(since, mark)


def zombie(stage: Stage, draws: random.Random) -> float:
    """A worker is stopped at the door of the store, another takes over; the first goes on and writes nothing.

    The second is held at the same watermark, and no user is in other partitions, whose commits would change ledgers
    under the first: nothing but the fence can tell the two apart.
    """
    number = len(stage.children)
    first, partition = stage.worker(f"worker{number}"), draws.randrange(stage.settings.partitions)
    with stage.traffic(draws, shared=0.0):
        stage.arm("before_script", "block", draws.randint(2, 5), first.name, str(partition))
        stage.wait_until_held(first.name)
        os.kill(first.pid, signal.SIGSTOP)
        since = time.monotonic()
        stage.arm("before_script", "hold", 1, f"worker{number + 1}", str(partition))
        second = stage.worker(f"worker{number + 1}")
        stage.wait_until_held(second.name)
        taken_over = time.monotonic() - since
    pause(SETTLED_S)
    before, known = stage.marks(partition), len(first.events())
    stage.release_held(first.name)
    os.kill(first.pid, signal.SIGCONT)
    moved: list[str] = []

    def has_moved() -> bool:
        """Look all the time: the first one may soon claim the partition again, under which what it moved is hidden."""
        if not moved:
            moved.extend(_moved(stage, partition, before))
        return bool(moved)

    wait_until(lambda: has_moved() or _is_answered(first, known), 30, "the first one goes on")
    settled = time.monotonic() + SETTLED_S
    wait_until(lambda: has_moved() or time.monotonic() >= settled)
    stage.release_held(second.name)
    if moved:
        raise PromiseBrokenError(f"the zombie moved the watermarks of partition {partition}: {moved}")
    stage.settle()
    if first.returncode not in (None, 0):
        raise PromiseBrokenError(f"the zombie ended with {first.returncode}")
    for child in (first, second):
        if (code := end(child)) != 0:
            raise PromiseBrokenError(f"{child.name} ended with {code}")
    return taken_over


def _moved(stage: Stage, partition: int, before: list[Watermark | None]) -> list[str]:
    """Return which watermarks moved under the claim they were under; a new claim, after a rebalance, is another's."""
    pairs = zip(before, stage.marks(partition), strict=True)
    return [
        f"{was.next_offset} to {now.next_offset}"
        for was, now in pairs
        if was and now and (was.fence, was.owner) == (now.fence, now.owner) and was.next_offset != now.next_offset
    ]


def _is_answered(zombie: Child, known: int) -> bool:
    """Whether a worker, after so many events, was told that a partition is another's, or rejoined before that."""
    told = {"partition.fenced", "session.began", "session.ended"}
    return any(event.get("event") in told for event in zombie.events()[known:])


def rebalance_storm(stage: Stage, draws: random.Random) -> float:
    """Another member comes or goes every two seconds."""
    stage.first_worker()
    rounds = 30 if len(stage.book.records) == 0 else 6
    second = stage.children.get("second") or stage.worker("second", ready=False)
    with stage.traffic(draws, count=rounds * 600, rate=300.0):
        for number in range(rounds):
            mark = stage.progress()
            pause(2.0)
            if second.returncode is None:
                second.kill() if draws.random() < 0.5 else second.stop()
            else:
                second.restart()
            seconds = stage.recovery_s(time.monotonic(), mark if number == 0 else stage.progress())
    second.stop()
    return seconds


def duplicates_and_shared_users(stage: Stage, draws: random.Random) -> float:
    """Repeated event ids, and users whose ratings are in every partition: read and committed side by side."""
    stage.first_worker()
    since = time.monotonic()
    with stage.traffic(draws, count=2500, rate=5000.0, shared=0.7):
        pass
    stage.settle()
    return time.monotonic() - since


def clock_moves(stage: Stage, draws: random.Random) -> float:
    """The worker's time of day is a day ahead, then a day behind."""
    seconds = 0.0
    for number, moved in enumerate((86_400, -86_400)):
        worker = stage.worker(f"worker{len(stage.children)}", FAULTS_CLOCK_S=str(moved))
        with stage.traffic(draws, count=600):
            stage.arm("after_script", "kill", draws.randint(1, 4), worker.name)
            wait_until(lambda worker=worker: worker.returncode is not None, 30, "the worker dies")
            mark, since = stage.progress(), time.monotonic()
            worker.restart()
            seconds = max(seconds, stage.recovery_s(since, mark))
        stage.settle()
        if (code := end(worker)) != 0:
            raise PromiseBrokenError(f"the worker with its clock {moved} s off ended with {code} in part {number}")
    return seconds


def hung(stage: Stage, draws: random.Random) -> float:
    """The event loop of a worker is blocked for good; its watchdog ends it, and another one takes over."""
    number = len(stage.children)
    first = stage.worker(f"worker{number}")
    second = stage.worker(f"worker{number + 1}", ready=False)
    with stage.traffic(draws):
        stage.arm("before_script", "block", 2, first.name)
        stage.wait_until_held(first.name)
        since = time.monotonic()
        wait_until(lambda: first.returncode is not None, 60, "the watchdog ends the hung worker")
        seconds = stage.recovery_s(since, stage.progress())
    first.stop()
    stage.settle()
    end(second)
    return seconds


def other_releases(stage: Stage, draws: random.Random) -> float:
    """Releases of another D while batches are in flight, and a second worker that follows another name altogether."""
    if "worker" not in stage.children:
        stage.release(5, name="other")
        stage.worker()
        stage.worker("other", settings=stage.settings.model_copy(update={"embedding": "other"}))
    since = time.monotonic()
    with stage.traffic(draws, count=2000, shared=0.5):
        for dim in draws.sample([2, 3, 6, 7, 8], 2):
            pause(draws.uniform(0.1, 0.6))
            stage.release(dim, name=draws.choice(["items", "other"]))
    stage.settle()
    return time.monotonic() - since
