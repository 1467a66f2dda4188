"""A reader in a process of its own, as the scorer is one, and how long its reads take."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.ledger_sides.worlds import TOPIC_ID, USERS_A_BATCH
from streams.settings import Settings
from streams.store.clients import make_client
from streams.store.reader import StateReader

LEDGERS_A_READ = 64


def read_while(url: str, namespace: str, seconds: float, work: Callable[[], None]) -> list[float]:
    """Return the seconds of each read of 64 ledgers that another process made while this one worked.

    Args:
        url: of the store.
        namespace: of the state; its users are ``u0`` to ``u511``.
        seconds: how long to read.
        work: done again and again meanwhile.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    reader = context.Process(target=_read, args=(url, namespace, seconds, theirs))
    reader.start()
    theirs.close()
    assert ours.recv() == "ready"
    while not ours.poll():
        work()
    took: list[float] = ours.recv()
    reader.join()
    return took


def _read(url: str, namespace: str, seconds: float, answers: Connection) -> None:
    client = make_client(Settings(redis_url=url, namespace=namespace, store_timeout_s=60))
    reader = StateReader(client, namespace, 1, TOPIC_ID, 1)
    draws = np.random.default_rng(3)
    users = [[f"u{n}" for n in draws.choice(USERS_A_BATCH, LEDGERS_A_READ, replace=False)] for _ in range(50)]
    reader.read(users[0])
    answers.send("ready")
    took = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        reader.read(users[len(took) % len(users)])
        took.append(time.perf_counter() - start)
    client.close()
    answers.send(took)
