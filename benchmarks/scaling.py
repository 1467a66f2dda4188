"""What an event, a request, a user and a seen item cost, and how that grows.

One size at a time grows by steps of four around one world of 1,000 users, 4,000 items, 40 seen items each and vectors
of 16 numbers: users in the store, items N, seen items S, D, k, shards V, partitions of the log, and users done together
in one commit or micro-batch. An event is read script, fold and guarded commit as in the worker; a request is decoded,
its user's state read, answered by the policy `greedy` and encoded as in the scorer, 64 at a time. The bus is left out:
what the Kafka client costs is measured by `benchmarks.ingest` and `benchmarks.clients`. Every cost is processor time,
the process's own and the store's, so that neither waits for the other.

An exponent is the slope of log cost over log size, with its standard error from how far all repeats of all sizes lie
off the line. `last` is the slope between the two largest sizes: where a cost has a part that does not grow, it is the
one to go by for larger worlds.
"""

import argparse
import asyncio
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from benchmarks.harness import Row, add_arguments, report
from benchmarks.ingest import brokers
from benchmarks.ingest_sides.stage import Servers
from benchmarks.ledger_sides.worlds import start_fresh_store
from benchmarks.scaling_sides.fit import fit_exponent, fit_line, fit_share
from benchmarks.scaling_sides.live import measure_pauses
from benchmarks.scaling_sides.plan import print_plan
from benchmarks.scaling_sides.points import Costs, Point, Work, measure_points
from benchmarks.scaling_sides.worlds import Sizes, World

REPEATS = 5
CHANGES, QUICK_CHANGES = 5, 1
BASE = Sizes()
EVENTS_TOGETHER, REQUESTS_TOGETHER, K = 512, 64, 16
OPERATIONS, QUICK_OPERATIONS = 4_096, 1_024
GROWN: Mapping[str, tuple[int, ...]] = {
    "users": (1_000, 4_000, 16_000, 64_000),
    "items": (1_000, 4_000, 16_000, 64_000),
    "seen": (10, 40, 160, 640),
    "dim": (4, 16, 64, 256),
    "shards": (1, 4, 16, 64),
    "partitions": (1, 4, 16, 64),
}
KS = (4, 16, 64, 256)
TOGETHER: Mapping[Work, tuple[int, ...]] = {"event": (8, 32, 128, 512), "request": (1, 4, 16, 64)}
EXPECTED: Mapping[tuple[Work, str], str] = {
    ("event", "users"): "0: a user is found by a hash",
    ("event", "items"): "0, or the logarithm of a binary search",
    ("event", "seen"): "0: an event is appended, a fold shared by as many as it is long",
    ("event", "dim"): "from 0 to 1: the mean is D numbers of a header",
    ("event", "together"): "-1 to 0: a commit's own cost is shared",
    ("request", "users"): "0: a user is found by a hash",
    ("request", "items"): "below 1: most items are left out by their bounds",
    ("request", "seen"): "from 0 to 1: entries are merged and scored again",
    ("request", "dim"): "from 0 to 1: products of D numbers",
    ("request", "k"): "from 0 to 1: each item of an answer is written out",
    ("request", "shards"): "from 0 to 1: a read a shard",
    ("request", "partitions"): "from 0 to 1: a watermark a partition",
    ("request", "together"): "-1 to 0: reads and search are shared",
}


def main() -> None:
    """Measure and report, or print the plan."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--plan", action="store_true", help="print what loads need, from the costs in the docs")
    parser.add_argument("--live", action="store_true", help="members come and go on a broker, instead: KAFKA_HOME")
    arguments = parser.parse_args()
    if arguments.plan:
        print_plan(sys.stdout)
        return
    if arguments.live:
        _report_live(arguments)
        return
    points = list(_points())
    with tempfile.TemporaryDirectory(prefix="streamrec-scaling-") as directory, _worlds(directory, points) as worlds:
        operations = QUICK_OPERATIONS if arguments.quick else OPERATIONS
        found = measure_points([point for _, _, point in points], worlds, operations, REPEATS)
        weights = {sizes: world.bytes_a_user for sizes, world in worlds.items()}
    series = _series(points, found)
    rows = [_cost_row(*key, costs) for key, costs in zip(points, found, strict=True)]
    rows += [_exponent_row(work, axis, own) for (work, axis), own in series.items()]
    rows += _memory_rows(weights)
    report("scaling", rows, _ratios(series, weights), packages=["redis", "numpy", "msgspec"], as_json=arguments.json)


def _report_live(arguments: argparse.Namespace) -> None:
    """Report how long things stand still when members come and go, on Apache Kafka where there is one."""
    ((broker, home),) = brokers("kafka" if os.environ.get("KAFKA_HOME") else "embedded")
    with (
        tempfile.TemporaryDirectory(prefix="streamrec-scaling-") as directory,
        Servers(Path(directory) / "run", home) as servers,
    ):
        pauses = measure_pauses(servers, QUICK_CHANGES if arguments.quick else CHANGES)
    rows = [
        {
            "what": name,
            "broker": broker,
            "median_s": round(statistics.median(own), 2),
            "lowest_s": round(min(own), 2),
            "highest_s": round(max(own), 2),
        }
        for name, own in pauses.items()
    ]
    report("scaling", rows, {}, packages=["aiokafka", "kafka-python"], as_json=arguments.json)


def _points() -> Iterator[tuple[str, int, Point]]:
    """Yield what grows, its size, and what is measured then."""
    for axis, sizes in GROWN.items():
        for size in sizes:
            world = replace(BASE, **{axis: size})
            if axis not in {"shards", "partitions"}:
                yield axis, size, Point("event", world, EVENTS_TOGETHER)
            yield axis, size, Point("request", world, REQUESTS_TOGETHER, K)
    for k in KS:
        yield "k", k, Point("request", BASE, REQUESTS_TOGETHER, k)
    for work, all_together in TOGETHER.items():
        for together in all_together:
            yield "together", together, Point(work, BASE, together, K if work == "request" else 0)


@contextmanager
def _worlds(directory: str, points: Sequence[tuple[str, int, Point]]) -> Iterator[dict[Sizes, World]]:
    loop = asyncio.new_event_loop()
    with start_fresh_store(Path(directory, "store"), appendonly=True) as store:
        worlds = {sizes: World(store.url, sizes, loop) for sizes in dict.fromkeys(point.sizes for *_, point in points)}
        yield worlds
        for world in worlds.values():
            world.close()
    loop.close()


Series = list[tuple[int, Costs]]


def _series(points: Sequence[tuple[str, int, Point]], found: Sequence[Costs]) -> dict[tuple[Work, str], Series]:
    series: dict[tuple[Work, str], Series] = {}
    for (axis, size, point), costs in zip(points, found, strict=True):
        series.setdefault((point.work, axis), []).append((size, costs))
    return series


def _cost_row(axis: str, size: int, point: Point, costs: Costs) -> Row:
    return _row(
        f"{point.work}, {axis} {size}",
        own=f"{costs.own_us:.2f} ({min(costs.own):.2f} to {max(costs.own):.2f})",
        store=f"{costs.store_us:.2f} ({min(costs.store):.2f} to {max(costs.store):.2f})",
        unit="us of processor",
    )


def _exponent_row(work: Work, axis: str, series: Series) -> Row:
    shown = {}
    for part in ("own", "store"):
        sizes, costs = _spread(series, part)
        line = fit_exponent(sizes, costs)
        shown[part] = f"{line.slope:+.3f} +- {line.slope_error:.3f}, last {_last_exponent(series, part):+.3f}"
    return _row(f"exponent: {work}, {axis}", **shown, unit=f"expected {EXPECTED[work, axis]}")


def _spread(series: Series, part: str) -> tuple[list[float], list[float]]:
    """Return the sizes and costs of all repeats."""
    pairs = [(float(size), cost) for size, costs in series for cost in getattr(costs, part)]
    return [size for size, _ in pairs], [cost for _, cost in pairs]


def _last_exponent(series: Series, part: str) -> float:
    """Return the slope between the two largest sizes, the repeats side by side."""
    (size, costs), (larger, more) = series[-2:]
    pairs = zip(getattr(costs, part), getattr(more, part), strict=True)
    return statistics.median(fit_exponent([size, larger, larger], [a, b, b]).slope for a, b in pairs)


def _memory_rows(weights: Mapping[Sizes, float]) -> list[Row]:
    rows = []
    for axis in ("seen", "dim"):
        own = {size: weights[replace(BASE, **{axis: size})] for size in GROWN[axis]}
        rows += [
            _row(f"memory of a user, {axis} {size}", own="", store=f"{weight:.0f}", unit="bytes")
            for size, weight in own.items()
        ]
        line = fit_exponent(list(own), list(own.values()))
        last = fit_exponent(list(own)[-2:] * 2, list(own.values())[-2:] * 2).slope
        rows.append(
            _row(
                f"exponent: memory of a user, {axis}",
                own="",
                store=f"{line.slope:+.3f} +- {line.slope_error:.3f}, last {last:+.3f}",
                unit="expected from 0 to 1: a header and 20 to 24 bytes an item",
            )
        )
    return rows


def _ratios(series: Mapping[tuple[Work, str], Series], weights: Mapping[Sizes, float]) -> dict[str, float]:
    """Return the exponents once more, what a commit and a micro-batch share, and bytes of a seen item."""
    ratios = {
        f"{work}_{part}_in_{axis}": fit_exponent(*_spread(own, part)).slope
        for (work, axis), own in series.items()
        for part in ("own", "store")
    }
    for work in TOGETHER:
        for part in ("own", "store"):
            line = fit_share(*_spread(series[work, "together"], part))
            ratios |= {f"{work}_{part}_us_each": line.intercept, f"{work}_{part}_us_shared": line.slope}
    for part in ("own", "store"):
        for axis, name in (("shards", "shard"), ("partitions", "watermark")):
            line = fit_line(*_spread(series["request", axis], part))
            ratios[f"request_{part}_us_a_{name}_and_batch"] = REQUESTS_TOGETHER * line.slope
    fewer, more = GROWN["seen"][-2:]
    ratios["bytes_of_a_seen_item"] = (weights[replace(BASE, seen=more)] - weights[replace(BASE, seen=fewer)]) / (
        more - fewer
    )
    return ratios


def _row(what: str, *, own: str, store: str, unit: str) -> Row:
    return {"what": what, "own": own, "store": store, "unit": unit}


if __name__ == "__main__":
    main()
