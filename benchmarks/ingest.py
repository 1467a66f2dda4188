"""How many ratings a second get into the store: ours, others doing the same, a bare consumer, and the store's ceiling.

Every side is a process of its own beside the same broker and store, whose append-only file is synced every second; all
run in turn, five times, over the same log of generated ratings (people and films of MovieLens 1M, four partitions). A
rate counts from the first to the last event seen done, so that starting up is left out; slow sides get fewer events,
and the two rows about two workers are measured in the first three repeats, over half of the log. Beside the rate stand
the cores that side, broker and store used, and the processor time an event took, which a busy machine changes less.
Interrupted by SIGINT or SIGTERM, it reports the repeats that were finished.

Ours is `streamrec worker` with everything on: validation, dead letters, item statistics, vectors of 16 numbers, the
position in the state. After each run its state is compared with the log, digest by digest.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from benchmarks.harness import Row, add_arguments, report
from benchmarks.ingest_sides.ours import run_ours, run_workers
from benchmarks.ingest_sides.stage import QUIX_PYTHON, Run, Stage

PACKAGES = ("faust-streaming", "aiokafka", "redis", "hiredis", "msgspec", "numpy")
REPEATS = 5
WORKER_REPEATS = 3
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
Repeat = Mapping[str, Run]
"""The run of each side in one repeat."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side: what the table calls it, how it is run, and in how many of the repeats at most."""

    name: str
    run: Callable[[], Run]
    most_repeats: int = sys.maxsize


class Interrupted(BaseException):
    """A signal asked the benchmark to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--broker", choices=("kafka", "embedded", "both"), default="both", help="which broker")
    parser.add_argument("--sides", default="", help="only sides whose names have one of these words, by comma")
    parser.add_argument("--repeats", type=int, default=0, help=f"how often; {REPEATS} by default, 2 with --quick")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    wanted = arguments.repeats or (2 if arguments.quick else REPEATS)
    finished: dict[str, list[Repeat]] = {}
    ended_by = 0
    try:
        for broker, home in brokers(arguments.broker):
            finished[broker] = []
            for repeat in _measure(arguments, home, wanted):
                finished[broker].append(repeat)
    except Interrupted as interrupted:
        ended_by = interrupted.number
    _report(finished, wanted if ended_by else 0, as_json=arguments.json)
    sys.exit(128 + ended_by if ended_by else 0)


def _report(finished: Mapping[str, Sequence[Repeat]], interrupted_of: int, *, as_json: bool) -> None:
    """Print what the finished repeats on each broker gave, out of how many where the benchmark was interrupted."""
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    for broker, repeats in finished.items():
        found = runs_by_side(repeats)
        rows += [_row(broker, name, runs) for name, runs in found.items()]
        is_told = broker == "Apache Kafka" or not ratios
        ratios |= {name if is_told else f"{name}, {broker}": ratio for name, ratio in _ratios(found).items()}
    note = ""
    if interrupted_of:
        done = ", ".join(f"{len(repeats)} of {interrupted_of} on {broker}" for broker, repeats in finished.items())
        note = f"Interrupted; the figures are of the repeats that were finished: {done}."
    if rows:
        report("ingest", rows, ratios, packages=PACKAGES, as_json=as_json, note=note)
    else:
        print(note)


def runs_by_side(repeats: Sequence[Repeat]) -> dict[str, list[Run]]:
    """Return the runs of each side that had some, in the order of the repeats."""
    found: dict[str, list[Run]] = {}
    for repeat in repeats:
        for name, run in repeat.items():
            found.setdefault(name, []).append(run)
    return found


def _interrupt(number: int, _: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise Interrupted(number)


def brokers(wanted: str) -> list[tuple[str, Path | None]]:
    """Return names and homes of the brokers to measure on: Apache Kafka where KAFKA_HOME is set, and the embedded."""
    home = os.environ.get("KAFKA_HOME")
    if wanted == "kafka" and not home:
        sys.exit("--broker kafka needs KAFKA_HOME, the folder of an unpacked Apache Kafka")
    found: list[tuple[str, Path | None]] = []
    if home and wanted != "embedded":
        found.append(("Apache Kafka", Path(home)))
    if wanted != "kafka":
        found.append(("embedded", None))
    return found


def _measure(arguments: argparse.Namespace, home: Path | None, repeats: int) -> Iterator[Repeat]:
    """Yield the runs of each repeat when it is finished."""
    with (
        tempfile.TemporaryDirectory(prefix="streamrec-ingest-") as directory,
        Stage(Path(directory) / "run", home, QUICK_EVENTS if arguments.quick else EVENTS) as stage,
    ):
        stage.fill(stage.topic.name)
        sides = _sides(stage, arguments.sides, is_quick=arguments.quick)
        for number in range(1, repeats + 1):
            runs: dict[str, Run] = {}
            for side in sides:
                if number <= side.most_repeats:
                    runs[side.name] = run = side.run()
                    print(f"  {number}/{repeats} {side.name}: {run.rate:,.0f}/s", file=sys.stderr, flush=True)
            yield runs


def _sides(stage: Stage, wanted: str, *, is_quick: bool) -> list[Side]:
    def other(name: str, module: str, events: int, python: Path = Path(sys.executable)) -> Side:
        events = min(events // 4 if is_quick else events, stage.events)
        return Side(name, partial(stage.run_side, module, events, python=python))

    sides = [
        other(PLAIN, "plain_agent", 5_000),
        other(TAKE, "take_agent", 20_000),
        Side(OURS, partial(run_ours, stage)),
        other(BARE, "bare_consumer", 4 * EVENTS),
        Side(CEILING, stage.run_ceiling),
        Side(ONE_WORKER, partial(run_workers, stage, 1), WORKER_REPEATS),
        Side(TWO_WORKERS, partial(run_workers, stage, 2), WORKER_REPEATS),
    ]
    if QUIX_PYTHON.exists():
        sides[2:2] = [
            other(QUIX, "quix_calls", 8_000, QUIX_PYTHON),
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
        "repeats": len(runs),
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
