"""The store's memory for users who rated 20 items each, as the worker writes them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.harness import Row
from benchmarks.ledger_sides.worlds import DIM, USERS_A_BATCH, Hand, start_fresh_store
from recommender.ledger.batch import EmbeddedItems
from services.runtime.engines import Engine
from streams.store import writer
from streams.store.clients import make_client
from streams.store.keys import STATISTICS_BUCKETS

ITEMS = 20
ITEMS_A_ROUND = 5
APPENDING_USERS = 20_000
AIM_AN_ITEM, AIM_A_USER = 24, 200
MEAN_BYTES = 8 * DIM


class Meter:
    """What a store says of its memory, without what is not for users.

    Args:
        hand: who writes.
    """

    def __init__(self, hand: Hand) -> None:
        self.hand = hand
        self._client: Any = make_client(hand.settings)
        self._before = self._used()

    def bytes_a_user(self, users: int) -> float:
        """Return the memory that was taken since the meter was made, by user."""
        return (self._used() - self._before) / users

    def ledger(self, user_id: str) -> tuple[int, int]:
        """Return the bytes of a ledger, and of its key, object and allocation together."""
        key = self.hand.keys.ledger(user_id)
        return int(self._client.strlen(key)), int(self._client.memory_usage(key))

    def info(self) -> dict[str, Any]:
        """Return what the store says of its memory."""
        found: dict[str, Any] = self._client.info("memory")
        return found

    def close(self) -> None:
        """Let go of the store."""
        self._client.close()

    def _used(self) -> int:
        shared = [self.hand.keys.statistics(bucket) for bucket in range(STATISTICS_BUCKETS)]
        shared += [self.hand.keys.deltas, self.hand.keys.sequence]
        with self._client.pipeline(transaction=False) as pipe:
            for key in shared:
                pipe.memory_usage(key, samples=0)
            others = sum(each or 0 for each in pipe.execute())
        info = self.info()
        buffers = info["mem_clients_normal"] + info["mem_aof_buffer"]
        return int(info["used_memory"] - buffers - others)


def measure_memory(
    directory: Path, items: EmbeddedItems, loop: asyncio.AbstractEventLoop, users: int
) -> tuple[list[Row], dict[str, float]]:
    """Return the rows, and what was taken beside what is allowed."""
    with start_fresh_store(directory / "memory", appendonly=False) as store:
        half, full, (length, with_key), info = _fill(store, items, loop, users)
    with start_fresh_store(directory / "appending", appendonly=False) as store, patch.object(writer, "WHOLE_BYTES", 0):
        hand = Hand(store.url, "streamrec", items, loop)
        meter = Meter(hand)
        _rate(hand, items, APPENDING_USERS, range(ITEMS), at_once=1)
        appended = meter.bytes_a_user(APPENDING_USERS)
        hand.fold_idle(APPENDING_USERS)
        folded = meter.bytes_a_user(APPENDING_USERS)
        meter.close()
        hand.close()
    an_item = (full - half) / (ITEMS // 2)
    a_user = full - ITEMS * an_item - MEAN_BYTES
    rows = [
        _row(f"memory a user, {users} users of {ITEMS} items", full),
        _row("  a seen item, from the 11th to the 20th", an_item),
        _row("  a user beside items and mean", a_user),
        _row("  the ledger itself", length),
        _row("  its key, object and spare allocation", with_key - length),
        _row("  the table of keys and the rest", full - with_key),
        _row("  resident memory of the store, by user", info["used_memory_rss"] / users),
        _row(f"memory a user, {APPENDING_USERS} users, every event appended", appended),
        _row("  the same after folding in the background", folded),
    ]
    allowed = ITEMS * AIM_AN_ITEM + AIM_A_USER + MEAN_BYTES
    return rows, {
        "item_bytes_vs_24": an_item / AIM_AN_ITEM,
        "user_bytes_vs_200": a_user / AIM_A_USER,
        "memory_vs_aim": full / allowed,
        "appended_vs_ours": appended / full,
        "appended_then_folded_vs_ours": folded / full,
    }


def _fill(
    store: Engine, items: EmbeddedItems, loop: asyncio.AbstractEventLoop, users: int
) -> tuple[float, float, tuple[int, int], dict[str, Any]]:
    hand = Hand(store.url, "streamrec", items, loop)
    meter = Meter(hand)
    _rate(hand, items, users, range(ITEMS // 2))
    half = meter.bytes_a_user(users)
    _rate(hand, items, users, range(ITEMS // 2, ITEMS))
    full = meter.bytes_a_user(users)
    one, info = meter.ledger(_user(users // 2)), meter.info()
    meter.close()
    hand.close()
    return half, full, one, info


def _rate(hand: Hand, items: EmbeddedItems, users: int, choices: Sequence[int], at_once: int = ITEMS_A_ROUND) -> None:
    """Let every user rate the same items, some at once; whose items they are makes no difference to a ledger."""
    for start in range(0, len(choices), at_once):
        chosen = np.array(choices[start : start + at_once])
        for first in range(0, users, USERS_A_BATCH):
            user_ids = [_user(user) for user in range(first, min(first + USERS_A_BATCH, users))]
            hand.apply(user_ids, np.tile(items.hashes[chosen, None], len(user_ids)))


def _user(number: int) -> str:
    return f"u{number:07}"


def _row(what: str, figure: float) -> Row:
    return {"what": what, "median": round(figure, 2), "lowest": "", "highest": "", "unit": "bytes"}
