"""Rows in which the store forgets, fills up or is away."""

import random
import time
from pathlib import Path

from tests.faults.rows_network import BROKEN_S
from tests.faults.stage import FaultMissedError, PromiseBrokenError, Stage, pause
from tests.waiting import wait_until

AWAY_S = 30.0
SHORT_AWAY_S = 6.0


def appended(stage: Stage) -> Path:
    (newest,) = sorted((stage.servers.store.directory / "appendonlydir").glob("*.incr.aof"))
    return newest


def _lose_tail(stage: Stage, draws: random.Random, start: int) -> None:
    """Kill the store and cut its append-only file somewhere behind what it had at ``start``."""
    stage.servers.store.kill()
    file = appended(stage)
    size = file.stat().st_size
    keep = start + int((size - start) * draws.uniform(0.3, 0.9))
    with file.open("rb+") as log:
        log.truncate(keep)
    stage.servers.store.restart()


def lose_tail(stage: Stage, draws: random.Random) -> float:
    """The store comes back without its newest writes; some batch is on its way when the refusal comes."""
    stage.first_worker()
    with stage.traffic(draws):
        start, mark = appended(stage).stat().st_size, stage.progress()
        wait_until(lambda: stage.progress() > mark + 400, 30, "there is something to lose")
        before = stage.progress()
        _lose_tail(stage, draws, start)
        since, mark = time.monotonic(), stage.progress()
        if mark >= before:
            raise FaultMissedError(f"nothing was lost: the watermarks are at {mark}, they were at {before}")
        return stage.recovery_s(since, max(before, mark))


def lose_tail_with_batch_fetched(stage: Stage, draws: random.Random) -> float:
    """The same while a batch is folded and waits at the door of the store, and the next ones are fetched."""
    stage.first_worker()
    with stage.traffic(draws):
        start, mark = appended(stage).stat().st_size, stage.progress()
        wait_until(lambda: stage.progress() > mark + 300, 30, "there is something to lose")
        stage.arm("before_script", "hold", 1)
        stage.wait_until_held()
        pause(0.2)
        before = stage.progress()
        _lose_tail(stage, draws, start)
        since = time.monotonic()
        stage.release_held()
        return stage.recovery_s(since, before)


def store_away(stage: Stage, draws: random.Random) -> float:
    first = "worker" not in stage.children
    if first:
        stage.worker()
    with stage.traffic(draws):
        pause(draws.uniform(0.2, 0.6))
        stage.servers.store.stop()
        pause(AWAY_S if first else SHORT_AWAY_S)
        stage.servers.store.restart()
        since, mark = time.monotonic(), stage.progress()
        return stage.recovery_s(since, mark)


def flushed_and_rebuilt(stage: Stage, draws: random.Random) -> float:
    """Everything is gone in mid-traffic; a worker with rebuild_on_empty says so and makes it anew from the log."""
    stage.first_worker(settings=stage.settings.model_copy(update={"rebuild_on_empty": True}))
    alarms = _alarms(stage)
    with stage.traffic(draws):
        mark = stage.progress()
        wait_until(lambda: stage.progress() > mark + draws.randint(100, 600), 30, "there is something to lose")
        before = stage.progress()
        stage.store.flushall()
        seconds = stage.recovery_s(time.monotonic(), before)
    if _alarms(stage) == alarms:
        raise PromiseBrokenError("the worker began from the log's start without a word")
    return seconds


def _alarms(stage: Stage) -> int:
    return sum(event.get("event") == "state.rebuilding" for event in stage.children["worker"].events())


def full(stage: Stage, draws: random.Random) -> float:
    """No memory is left for writes; the worker waits until there is some again."""
    worker = stage.first_worker()
    try:
        with stage.traffic(draws):
            pause(draws.uniform(0.2, 0.6))
            stage.store.config_set("maxmemory", 1_000_000)
            pause(BROKEN_S)
    finally:
        stage.store.config_set("maxmemory", 0)
    since, mark = time.monotonic(), stage.progress()
    if worker.returncode is not None:
        raise PromiseBrokenError(f"the worker ended with {worker.returncode} on a full store")
    return stage.recovery_s(since, mark)
