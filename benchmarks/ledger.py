"""What a ledger costs: time to write it as it grows, a reader's wait meanwhile, and memory.

An event's cost is that of read script, fold and guarded commit, 512 users a batch and one event each, for users with 10
to 10,000 seen items who rate seen items again; one user in 33 has the tail folded with it, as in the long run. The aim
is at most twice the cost at 100 seen items.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Measurement, Side, measure, ratio, read_arguments, report
from benchmarks.ledger_worlds import USERS_A_BATCH, Hand, draw_items, make_ledger, start_durable_store
from recommender.ledger.batch import EmbeddedItems
from streams.store.clients import make_client

SEEN = (10, 20, 100, 1_000, 10_000)
CYCLE = 33
USERS = [f"u{number}" for number in range(USERS_A_BATCH)]


def _write_side(hand: Hand, items: EmbeddedItems, seen: int) -> Side:
    draws = np.random.default_rng(seen)
    hand.store_ledgers({user: make_ledger(items, seen, 32 + i % CYCLE, draws) for i, user in enumerate(USERS)})
    rated = []
    client: Any = make_client(hand.settings)
    for user in USERS:
        value = client.get(hand.keys.ledger(user))
        rated.append(np.frombuffer(value, "<u8", count=1, offset=56 + 8 * 16 + 24 * (seen // 2))[0])
    client.close()
    batch = np.array(rated, np.uint64)

    def run() -> None:
        for _ in range(CYCLE):
            hand.apply(USERS, batch)

    return Side(f"write, {seen} seen", run, CYCLE * USERS_A_BATCH)


def main() -> None:
    """Measure and report."""
    arguments = read_arguments("ledger", str(__doc__))
    items = draw_items()
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as directory, start_durable_store(Path(directory)) as store:
        hands = {seen: Hand(store.url, f"b{seen}", items, loop) for seen in SEEN}
        sides = [_write_side(hand, items, seen) for seen, hand in hands.items()]
        client = make_client(hands[10].settings)
        import os

        if os.environ.get("PROF"):
            for side in sides:
                side.run()
                client.config_resetstat()
                import time

                t = time.perf_counter()
                c = time.process_time()
                side.run()
                t = time.perf_counter() - t
                c = time.process_time() - c
                st = client.info("commandstats")
                print(
                    side.name,
                    "us/event wall",
                    round(t / side.operations * 1e6, 2),
                    "client cpu",
                    round(c / side.operations * 1e6, 2),
                    "server script",
                    round(st["cmdstat_evalsha"]["usec"] / side.operations, 2),
                    {
                        k: round(v["usec"] / side.operations, 2)
                        for k, v in st.items()
                        if k in ("cmdstat_get", "cmdstat_set", "cmdstat_getrange", "cmdstat_append", "cmdstat_setrange")
                    },
                )
        found = measure(sides)
        for hand in hands.values():
            hand.close()
    loop.close()
    base = found["write, 100 seen"]
    ratios = {f"cost_{seen}_vs_100": ratio(found[f"write, {seen} seen"], base) for seen in SEEN if seen != 100}
    report(
        "ledger", [each.row() for each in found.values()], ratios, packages=["redis", "numpy"], as_json=arguments.json
    )


if __name__ == "__main__":
    main()
