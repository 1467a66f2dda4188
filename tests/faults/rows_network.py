"""Rows in which the network between a worker and the store, or the broker, is broken for a while."""

import random
import time
from collections.abc import Callable

from streams.store.scripts import COMMIT
from tests.faults.proxy import HOST, Proxy
from tests.faults.stage import Stage, pause
from tests.waiting import wait_until

BROKEN_S = 1.5


def _row(
    connect: Callable[[Stage], Proxy], break_: Callable[[Proxy, random.Random], None], *, lasts_s: float = BROKEN_S
):
    """Return a row whose worker has a proxy before it that is broken, and mended after a while."""

    def row(stage: Stage, draws: random.Random) -> float:
        proxy = stage.proxy or connect(stage)
        with stage.traffic(draws):
            pause(draws.uniform(0.1, 0.5))
            break_(proxy, draws)
            pause(lasts_s)
            mark = stage.progress()
            proxy.mend()
            return stage.recovery_s(time.monotonic(), mark)

    return row


def _by_store(stage: Stage) -> Proxy:
    proxy = stage.open_proxy(stage.servers.store.port)
    stage.worker(settings=stage.settings.model_copy(update={"redis_url": f"redis://{HOST}:{proxy.port}/0"}))
    return proxy


def _by_broker(stage: Stage) -> Proxy:
    """Take fetches and group calls through the proxy."""
    port = stage.servers.broker.port
    proxy = stage.open_proxy(port)
    stage.worker(FAULTS_BROKER=f"{port}:{proxy.port}")
    return proxy


def _cut(proxy: Proxy, _: random.Random) -> None:
    proxy.refuses = True
    proxy.cut()


def _silence(proxy: Proxy, _: random.Random) -> None:
    proxy.is_silent = True


def _slow(proxy: Proxy, _: random.Random) -> None:
    proxy.latency_s = 0.2


def _reset(times: int, most_bytes: int):
    def reset(proxy: Proxy, draws: random.Random) -> None:
        for _ in range(times):
            broken = proxy.broken
            proxy.reset_after = draws.randint(1, most_bytes)
            wait_until(lambda broken=broken: proxy.broken > broken, 20, "the connection is reset")

    return reset


def _lose_reply(asked: bytes):
    def lose(proxy: Proxy, _: random.Random) -> None:
        for _ in range(4):
            broken = proxy.broken
            proxy.lost_reply_to = asked
            wait_until(lambda broken=broken: proxy.broken > broken, 20, "a reply is lost")

    return lose


SHORTLY_S = 0.1

store_cut = _row(_by_store, _cut)
store_silent = _row(_by_store, _silence)
store_slow = _row(_by_store, _slow)
store_reset = _row(_by_store, _reset(8, 20_000), lasts_s=SHORTLY_S)
store_reply_lost = _row(_by_store, _lose_reply(COMMIT.sha.encode()), lasts_s=SHORTLY_S)
broker_cut = _row(_by_broker, _cut)
broker_silent = _row(_by_broker, _silence)
broker_slow = _row(_by_broker, _slow)
broker_reset = _row(_by_broker, _reset(4, 5_000), lasts_s=SHORTLY_S)
broker_reply_lost = _row(_by_broker, _lose_reply(b"ratings"), lasts_s=SHORTLY_S)
