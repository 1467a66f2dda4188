"""How many ratings a second get into the store: ours, others doing the same, a bare consumer, and the store's ceiling.

Every side is a process of its own beside the same broker and store, whose append-only file is synced every second; all
run in turn, five times, over the same log of generated ratings (people and films of MovieLens 1M, four partitions). A
rate counts from the first to the last event seen done, so that starting up is left out; slow sides get fewer events.
Beside it stands the processor time an event took, of the side and of the store, which a busy machine changes less.

Ours is `streamrec worker` with everything on: validation, dead letters, item statistics, vectors of 16 numbers, the
position in the state. After each run its state is compared with the log, digest by digest.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.harness import Row, add_arguments, report
from benchmarks.ingest_sides.ours import run_ours, run_workers
from benchmarks.ingest_sides.stage import QUIX_PYTHON, Run, Stage

PACKAGES = ("faust-streaming", "aiokafka", "redis", "hiredis", "msgspec", "numpy")
REPEATS = 5
EVENTS = 400_000
QUICK_EVENTS = 100_000
OURS = "ours"
TWO_WORKERS = "ours, 2 workers"
ONE_WORKER = "ours, 1 worker, as the 2"
PLAIN = "plain Faust agent"
TAKE = "Faust agent, take()"
QUIX = "Quix Streams, Redis calls"
QUIX_STORE = "Quix Streams, own store"
BARE = "bare aiokafka"
CEILING = "store's ceiling"


@dataclass(frozen=True, slots=True)
class Side:
    """One side: what the table calls it, how many events it gets, and how it is run."""

    name: str
    events: int
    run: Callable[[], Run]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--broker", choices=("kafka", "embedded", "both"), default="both", help="which broker")
    parser.add_argument("--sides", default="", help="only sides whose names have one of these words, by comma")
    parser.add_argument("--repeats", type=int, default=0, help=f"how often; {REPEATS} by default, 2 with --quick")
    arguments = parser.parse_args()
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    for broker, home in brokers(arguments.broker):
        found = _measure(arguments, home)
        rows += [_row(broker, name, runs) for name, runs in found.items()]
        is_told = broker == "Apache Kafka" or not ratios
        ratios |= {name if is_told else f"{name}, {broker}": ratio for name, ratio in _ratios(found).items()}
    report("ingest", rows, ratios, packages=PACKAGES, as_json=arguments.json)


def brokers(wanted: str) -> list[tuple[str, Path | None]]:
    """Return names and homes of the brokers to measure on: Apache Kafka where KAFKA_HOME is set, and the embedded."""
    home = os.environ.get("KAFKA_HOME")
    found: list[tuple[str, Path | None]] = []
    if home and wanted != "embedded":
        found.append(("Apache Kafka", Path(home)))
    if wanted != "kafka" or not home:
        found.append(("embedded", None))
    return found


def _measure(arguments: argparse.Namespace, home: Path | None) -> dict[str, list[Run]]:
    repeats = arguments.repeats or (2 if arguments.quick else REPEATS)
    with (
        tempfile.TemporaryDirectory(prefix="streamrec-ingest-") as directory,
        Stage(Path(directory) / "run", home, QUICK_EVENTS if arguments.quick else EVENTS) as stage,
    ):
        stage.fill(stage.topic.name)
        sides = _sides(stage, arguments.sides, is_quick=arguments.quick)
        found: dict[str, list[Run]] = {side.name: [] for side in sides}
        for repeat in range(repeats):
            for side in sides:
                run = side.run()
                found[side.name].append(run)
                print(f"  {repeat + 1}/{repeats} {side.name}: {run.rate:,.0f}/s", file=sys.stderr, flush=True)
    return found


def _sides(stage: Stage, wanted: str, *, is_quick: bool) -> list[Side]:
    def other(name: str, module: str, events: int, python: Path = Path(sys.executable)) -> Side:
        events = min(events // 4 if is_quick else events, stage.events)
        return Side(name, events, partial(stage.run_side, module, events, python=python))

    sides = [
        other(PLAIN, "plain_agent", 5_000),
        other(TAKE, "take_agent", 30_000),
        Side(OURS, stage.events, partial(run_ours, stage)),
        other(BARE, "bare_consumer", 4 * EVENTS),
        other(CEILING, "ceiling", 4 * EVENTS),
        Side(ONE_WORKER, stage.events, partial(run_workers, stage, 1)),
        Side(TWO_WORKERS, stage.events, partial(run_workers, stage, 2)),
    ]
    if QUIX_PYTHON.exists():
        sides[2:2] = [
            other(QUIX, "quix_calls", 10_000, QUIX_PYTHON),
            other(QUIX_STORE, "quix_store", 30_000, QUIX_PYTHON),
        ]
    else:
        print("  Quix Streams is left out: `make bench` makes its environment", file=sys.stderr)
    words = [word for word in wanted.split(",") if word]
    return [side for side in sides if not words or any(word in side.name for word in words)]


def _row(broker: str, name: str, runs: Sequence[Run]) -> Row:
    rates = [run.rate for run in runs]
    cores = {part: statistics.median(run.cores[part] for run in runs) for part in runs[0].cores}
    cpu = {part: statistics.median(run.cores[part] / run.rate for run in runs) for part in ("side", "store")}
    return {
        "side": name,
        "broker": broker,
        "median_per_s": round(statistics.median(rates)),
        "lowest_per_s": round(min(rates)),
        "highest_per_s": round(max(rates)),
        **{f"{part}_cores": round(used, 2) for part, used in cores.items()},
        **{f"{part}_cpu_us": round(seconds * 1e6, 1) for part, seconds in cpu.items()},
    }


def _ratios(found: Mapping[str, Sequence[Run]]) -> dict[str, float]:
    def compare(ours: str, theirs: str) -> float | None:
        if ours not in found or theirs not in found:
            return None
        return statistics.median(mine.rate / other.rate for mine, other in zip(found[ours], found[theirs], strict=True))

    ratios = {
        "ours_vs_plain_agent": compare(OURS, PLAIN),
        "ours_vs_take": compare(OURS, TAKE),
        "ours_vs_quix": compare(OURS, QUIX),
        "ours_vs_quix_own_store": compare(OURS, QUIX_STORE),
        "ours_vs_bare_consumer": compare(OURS, BARE),
        "ours_vs_ceiling": compare(OURS, CEILING),
        "two_workers_vs_one": compare(TWO_WORKERS, ONE_WORKER),
    }
    return {name: ratio for name, ratio in ratios.items() if ratio is not None}


if __name__ == "__main__":
    main()
