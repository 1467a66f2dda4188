"""How soon a rating that was produced is seen by a reader of the store, at 10, 50 and 80 % of what can be taken in.

A producer (a process of its own) sends ratings on a schedule that waits for nothing, encoded beforehand; a reader
(another) looks at the watermarks every millisecond. A rating's latency is from the time it was due, however late it
went out, to the look that first saw its watermark behind it: then ledger, statistics and watermark are there together.
Every rating due after a run's first second counts, however late it was seen. `streamrec worker` has everything on, the
store's file is synced every second. Beside the latencies stand the cores that each process used.

Capacity is measured first, with producer and reader beside it: ratings seen a second while more than that are offered,
from the first second to the producer's last rating. All runs on Apache Kafka follow one another on one log; on the
embedded broker, which each batch in its log makes slower, every run has servers and a worker of its own.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, add_arguments, report
from benchmarks.ingest import PACKAGES, REPEATS, brokers
from benchmarks.ingest_sides.log import PARTITIONS
from benchmarks.ingest_sides.ours import WORKER, Watch
from benchmarks.ingest_sides.stage import READY_TIMEOUT_S, RUN_TIMEOUT_S, Stage, go, wait_until
from services.runtime.supervise import Child

LEVELS = (0.1, 0.5, 0.8)
OFFERED = 150_000
OFFERED_S = 4.0
SECONDS = 10.0
QUICK_SECONDS = 3.0
WARM_S = 1.0
LOG_EVENTS = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """When each event of a run was due and seen, and when the producer had sent the last, seconds on one clock.

    Attributes:
        due: by event.
        seen: by event.
        ended: when the last was sent.
        cores: cores used by each process, from the first event sent to the last one seen.
    """

    due: np.ndarray
    seen: np.ndarray
    ended: float
    cores: Mapping[str, float] = field(default_factory=dict)

    @property
    def _warm(self) -> float:
        return float(self.due[0]) + WARM_S

    @property
    def rate(self) -> float:
        """Events seen a second, between the run's first second and the last event sent."""
        counted = (self.seen > self._warm) & (self.seen <= self.ended)
        return float(counted.sum()) / (self.ended - self._warm)

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of the latency of all events due after the run's first second."""
        is_warm = self.due >= self._warm
        return float(np.percentile((self.seen - self.due)[is_warm] * 1000, share))


@dataclass(frozen=True, slots=True)
class Bench:
    """Servers with an empty log, the worker on them, and how far it is."""

    stage: Stage
    worker: Child
    watch: Watch


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freshness", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--broker", choices=("kafka", "embedded", "both"), default="both", help="which broker")
    arguments = parser.parse_args()
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    for broker, home in brokers(arguments.broker):
        capacity, found = _measure(home, is_quick=arguments.quick)
        rows += [_row(broker, level, capacity, runs) for level, runs in found.items()]
        half = statistics.median(run.percentile_ms(99) for run in found[0.5])
        ratios |= {f"p99_ms_at_half, {broker}": half, f"capacity_per_s, {broker}": capacity}
    report("freshness", rows, ratios, packages=PACKAGES, as_json=arguments.json)


def _measure(home: Path | None, *, is_quick: bool) -> tuple[float, dict[float, list[Seen]]]:
    found: dict[float, list[Seen]] = {level: [] for level in LEVELS}
    with contextlib.ExitStack() as stack:
        opened: list[Bench] = []

        def produce(rate: float, seconds: float) -> Seen:
            if home is None:  # each batch in its log makes the embedded broker slower
                stack.close()
                opened.clear()
            if not opened:
                opened.append(stack.enter_context(_opened(home)))
            return _produce(opened[0], rate, int(rate * seconds))

        tries = [produce(OFFERED, OFFERED_S / 2 if is_quick else OFFERED_S).rate for _ in range(3)]
        capacity = statistics.median(tries)
        print(f"  capacity: {', '.join(f'{rate:,.0f}' for rate in tries)}/s", file=sys.stderr, flush=True)
        for _ in range(2 if is_quick else REPEATS):
            for level in LEVELS:
                run = produce(level * capacity, QUICK_SECONDS if is_quick else SECONDS)
                found[level].append(run)
                shown = f"p50 {run.percentile_ms(50):.1f} ms, p99 {run.percentile_ms(99):.1f} ms"
                print(f"  {level:.0%} of {capacity:,.0f}/s: {shown}", file=sys.stderr, flush=True)
    return capacity, found


@contextlib.contextmanager
def _opened(home: Path | None) -> Iterator[Bench]:
    with (
        tempfile.TemporaryDirectory(prefix="streamrec-freshness-") as directory,
        Stage(Path(directory) / "run", home, LOG_EVENTS) as stage,
    ):
        settings = stage.make_settings("freshness")
        with (
            contextlib.closing(Watch(settings, stage.topic.topic_id)) as watch,
            stage.child("worker", WORKER, settings) as worker,
        ):
            worker.wait_for_event("worker.ready", READY_TIMEOUT_S)
            wait_until(lambda: len(watch.marks()) == PARTITIONS, READY_TIMEOUT_S, "every partition is claimed")
            yield Bench(stage, worker, watch)


def _produce(bench: Bench, rate: float, events: int) -> Seen:
    """Send events on schedule while a reader looks at the watermarks until all are seen."""
    stage, worker, watch = bench.stage, bench.worker, bench.watch
    target = sum(watch.marks().values()) + events
    sent, looked = (stage.directory / f"{name}-{target}.npz" for name in ("sent", "looked"))
    sending = [stage.broker.url, stage.topic.name, str(stage.records_path), str(rate), str(events), str(sent)]
    looking = [stage.store.url, str(target), str(looked), *watch.keys()]
    with (
        stage.child(f"producer-{target}", _argv("open_loop", sending), stage.settings) as producer,
        stage.child(f"reader-{target}", _argv("looks", looking), stage.settings) as reader,
    ):
        for child in (producer, reader):
            child.wait_for_event("side.ready", READY_TIMEOUT_S)
        measured = stage.cores_used(producer=[producer], reader=[reader], worker=[worker])
        go(producer)
        reader.wait_for_event("side.seen", RUN_TIMEOUT_S)
        cores = measured()
        for child in (producer, reader):
            go(child)
            child.wait_for_event("side.done", READY_TIMEOUT_S)
    with np.load(sent) as own, np.load(looked) as other:
        seen = match(own["partition"], own["offset"], other["times"], other["marks"])
        return Seen(own["due"], seen, float(own["ended"]), cores)


def _argv(module: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.ingest_sides.{module}", *arguments]


def match(partition: np.ndarray, offset: np.ndarray, times: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Return when the watermark of each event's partition was first seen behind it."""
    seen = np.empty(len(offset))
    for number in range(PARTITIONS):
        own = partition == number
        seen[own] = times[np.searchsorted(marks[:, number], offset[own], side="right")]
    return seen


def _row(broker: str, level: float, capacity: float, runs: Sequence[Seen]) -> Row:
    row: dict[str, object] = {"load": f"{level:.0%}", "broker": broker, "per_s": round(level * capacity)}
    for share in (50, 99):
        found = [run.percentile_ms(share) for run in runs]
        row |= {
            f"p{share}_ms": round(statistics.median(found), 1),
            f"p{share}_lowest": round(min(found), 1),
            f"p{share}_highest": round(max(found), 1),
        }
    for name in runs[0].cores:
        row[f"{name}_cores"] = round(statistics.median(run.cores[name] for run in runs), 2)
    return row


if __name__ == "__main__":
    main()
