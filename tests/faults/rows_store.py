"""Rows in which the store dies, forgets, fills up or cannot be reached as it should."""

import random
import time
from collections.abc import Callable
from pathlib import Path

from services.admin.bus import open_admin
from streams.store.scripts import COMMIT
from tests.faults.proxy import Proxy
from tests.faults.rows_worker import HALT, pause
from tests.faults.stage import PromiseBrokenError, Stage
from tests.waiting import wait_until

AWAY_S = 30.0
SHORT_AWAY_S = 6.0
BROKEN_S = 1.5


def kill_store(stage: Stage, draws: random.Random) -> float:
    if "worker" not in stage.children:
        stage.worker()
    with stage.traffic(draws):
        pause(draws.uniform(0.2, 0.8))
        stage.servers.store.kill()
        stage.servers.store.restart()
        since, mark = time.monotonic(), stage.progress()
        return stage.recovery_s(since, mark)


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
    if "worker" not in stage.children:
        stage.worker()
    with stage.traffic(draws):
        start, mark = appended(stage).stat().st_size, stage.progress()
        wait_until(lambda: stage.progress() > mark + 400, 30, "there is something to lose")
        before = stage.progress()
        _lose_tail(stage, draws, start)
        since, mark = time.monotonic(), stage.progress()
        if mark >= before:
            raise PromiseBrokenError(f"nothing was lost: the watermarks are at {mark}, they were at {before}")
        return stage.recovery_s(since, max(before, mark))


def lose_tail_with_batch_fetched(stage: Stage, draws: random.Random) -> float:
    """The same while a batch is folded and waits at the door of the store, and the next ones are fetched."""
    if "worker" not in stage.children:
        stage.worker()
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


def flushed(stage: Stage, draws: random.Random) -> float:
    """Everything is gone: the worker halts, and halts again when it is only started again."""
    worker = stage.worker()
    with stage.traffic(draws, count=400):
        pass
    stage.settle()
    stage.check()
    wait_until(lambda: _hints(stage) > 0, 20, "the group has committed offsets")
    stage.store.flushall()
    since = time.monotonic()
    _expect_halt(worker, "StateMissing")
    seconds = time.monotonic() - since
    worker.restart()
    _expect_halt(worker, "StateMissing")
    if stage.progress() != 0 or stage.store.dbsize() != 0:
        raise PromiseBrokenError(f"a worker on an emptied store wrote: {stage.store.keys()[:5]}")
    return seconds


def flushed_and_rebuilt(stage: Stage, draws: random.Random) -> float:
    """Everything is gone in mid-traffic; a worker with rebuild_on_empty says so and makes it anew from the log."""
    if "worker" not in stage.children:
        stage.worker(settings=stage.settings.model_copy(update={"rebuild_on_empty": True}))
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


def _hints(stage: Stage) -> int:

    group = stage.settings.group_worker
    with open_admin(stage.settings) as admin:
        return min((at.offset for at in admin.list_group_offsets([group])[group].values()), default=-1)


def _expect_halt(worker, kind: str) -> None:
    said = worker.wait_for_event("worker.halted", 30)
    code = worker.wait(10)
    if (said["kind"], code) != (kind, HALT):
        raise PromiseBrokenError(
            f"the worker ended with {code}, {said['kind']}: {said['why']}; expected {HALT}, {kind}"
        )


def full(stage: Stage, draws: random.Random) -> float:
    """No memory is left for writes; the worker waits until there is some again."""
    worker = stage.children.get("worker") or stage.worker()
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


def _network(break_: Callable[[Proxy, random.Random], None], *, waits: bool = True):
    """Return a row whose worker reaches the store through a proxy that is broken for a while."""

    def row(stage: Stage, draws: random.Random) -> float:
        name = f"worker{len(stage.children)}"
        with Proxy(stage.servers.store.port) as proxy:
            settings = stage.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{proxy.port}/0"})
            worker = stage.worker(name, settings=settings)
            with stage.traffic(draws):
                pause(draws.uniform(0.1, 0.5))
                break_(proxy, draws)
                pause(BROKEN_S if waits else 0.1)
                mark = stage.progress()
                proxy.mend()
                seconds = stage.recovery_s(time.monotonic(), mark)
            stage.settle()
            worker.stop()
            if worker.returncode != 0:
                raise PromiseBrokenError(f"the worker ended with {worker.returncode}")
        return seconds

    return row


def _cut(proxy: Proxy, draws: random.Random) -> None:
    proxy.refuses = True
    proxy.cut()


def _silent(proxy: Proxy, draws: random.Random) -> None:
    proxy.is_silent = True


def _slow(proxy: Proxy, draws: random.Random) -> None:
    proxy.latency_s = 0.2


def _reset_after(proxy: Proxy, draws: random.Random) -> None:
    for _ in range(8):
        broken = proxy.broken
        proxy.reset_after = draws.randint(1, 20_000)
        wait_until(lambda broken=broken: proxy.broken > broken, 20, "the connection is reset")


def _lose_reply(proxy: Proxy, draws: random.Random) -> None:
    for _ in range(4):
        broken = proxy.broken
        proxy.lost_reply_to = COMMIT.sha.encode()
        wait_until(lambda broken=broken: proxy.broken > broken, 20, "a reply is lost")


store_cut = _network(_cut)
store_silent = _network(_silent)
store_slow = _network(_slow)
store_reset = _network(_reset_after, waits=False)
store_reply_lost = _network(_lose_reply, waits=False)
