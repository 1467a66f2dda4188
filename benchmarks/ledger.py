"""What a ledger costs: time to write it as it grows, a reader's wait meanwhile, and memory.

**Writing.** Read script, fold and guarded commit of one event each of 512 users with 10 to 10,000 seen items, who rate
seen items again; tails are of every length, so that as many are folded as in the long run. The aim is at most twice the
cost at 100 seen items.

**Reading.** Another process reads 64 ledgers at a time, by the reader of the product, while this one writes as fast as
it can. The aim is a p99 under 10 ms.

**Memory.** Users rate 20 items each, five a round, by the way of the product. The aim is at most 24 bytes a seen item
and 200 a user beside the mean vector, everything that the store needs for it included.
"""

import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import structlog

from benchmarks.harness import Row, Side, measure, ratio, read_arguments, report
from benchmarks.ledger_sides.memory import measure_memory
from benchmarks.ledger_sides.reader import read_while
from benchmarks.ledger_sides.worlds import DIM, USERS_A_BATCH, Hand, draw_items, make_ledger, start_fresh_store
from recommender.ledger.batch import EmbeddedItems
from recommender.ledger.layout import FIXED_BYTES, TAIL_KEEP, most_in_tail

SEEN = (10, 20, 100, 1_000, 10_000)
READ_SEEN = 100
REPEATS = 5
USERS = [f"u{number}" for number in range(USERS_A_BATCH)]
AIM_P99_MS = 10


def main() -> None:
    """Measure and report."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    arguments = read_arguments("ledger", str(__doc__))
    items = draw_items()
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as directory:
        with start_fresh_store(Path(directory, "speed"), appendonly=True) as store:
            hands = {seen: Hand(store.url, f"b{seen}", items, loop) for seen in SEEN}
            batches = 8 if arguments.quick else 33
            found = measure([_write_side(hand, items, seen, batches) for seen, hand in hands.items()], REPEATS)
            rows = [_row(name, [each * 1e6 for each in figures.seconds], "us") for name, figures in found.items()]
            reads, p99 = _measure_reads(store.url, hands[READ_SEEN], items, 1.0 if arguments.quick else 4.0)
            for hand in hands.values():
                hand.close()
        users = 20_000 if arguments.quick else 1_000_000
        memory, against_aims = measure_memory(Path(directory), items, loop, users)
    loop.close()
    base = found[f"write, {READ_SEEN} seen"]
    ratios = {f"cost_{seen}_vs_100": ratio(found[f"write, {seen} seen"], base) for seen in SEEN if seen != READ_SEEN}
    ratios |= {"reader_p99_vs_10_ms": p99 / AIM_P99_MS} | against_aims
    report("ledger", [*rows, *reads, *memory], ratios, packages=["redis", "numpy"], as_json=arguments.json)


def _row(what: str, figures: Sequence[float], unit: str) -> Row:
    return {
        "what": what,
        "median": round(statistics.median(figures), 2),
        "lowest": round(min(figures), 2),
        "highest": round(max(figures), 2),
        "unit": unit,
    }


def _write_side(hand: Hand, items: EmbeddedItems, seen: int, batches: int) -> Side:
    draws = np.random.default_rng(seen)
    tails = np.linspace(3 * TAIL_KEEP // 2, most_in_tail(seen), USERS_A_BATCH).astype(int)
    ledgers = {user: make_ledger(items, seen, tail, draws) for user, tail in zip(USERS, tails.tolist(), strict=True)}
    hand.store_ledgers(ledgers)
    middle = FIXED_BYTES + 8 * DIM + 24 * (seen // 2)
    rated = np.array([int.from_bytes(ledger[middle : middle + 8], "little") for ledger in ledgers.values()], np.uint64)

    def run() -> None:
        for _ in range(batches):
            hand.apply(USERS, rated[None])

    return Side(f"write, {seen} seen", run, batches * USERS_A_BATCH)


def _measure_reads(url: str, hand: Hand, items: EmbeddedItems, seconds: float) -> tuple[list[Row], float]:
    """Return the rows, and the p99 in ms while writes go on."""
    write = _write_side(hand, items, READ_SEEN, 1).run
    works: dict[str, Callable[[], object]] = {"nobody writes": lambda: time.sleep(0.01), "writes at full speed": write}
    took: dict[str, list[list[float]]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            took[name].append(read_while(url, hand.settings.namespace, seconds, work))
    rows = []
    for name, repeats in took.items():
        for percentile in (50, 99):
            figures = [float(np.percentile(each, percentile)) * 1e3 for each in repeats]
            rows.append(_row(f"read 64 of {READ_SEEN} seen, p{percentile}, {name}", figures, "ms"))
    return rows, statistics.median(float(np.percentile(each, 99)) * 1e3 for each in took["writes at full speed"])


if __name__ == "__main__":
    main()
