"""How soon a rating that was produced is seen by a reader of the store, at 10, 50 and 80 % of what can be taken in.

A producer (a process of its own) sends ratings on a schedule that waits for nothing; this process looks at the
watermarks every millisecond, as the scorer does for a request that waits for a state. A rating's latency is from the
time it was due, however late it went out, to the look that first saw its watermark behind it: then ledger, statistics
and watermark are there together. `streamrec worker` has everything on, the store's file is synced every second.

Capacity is measured first, with the producer beside it: ratings seen a second while more than that are offered.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, add_arguments, report
from benchmarks.ingest import PACKAGES, REPEATS, brokers
from benchmarks.ingest_sides.log import PARTITIONS
from benchmarks.ingest_sides.ours import WORKER, Watch
from benchmarks.ingest_sides.stage import READY_TIMEOUT_S, RUN_TIMEOUT_S, Stage, wait_until
from schemas.errors import EngineError

LEVELS = (0.1, 0.5, 0.8)
LOOK_EVERY_S = 0.001
OFFERED = 150_000
OFFERED_S = 4.0
SECONDS = 10.0
QUICK_SECONDS = 3.0
LOG_EVENTS = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """When each event of a run was due and seen, seconds on the monotonic clock."""

    due: np.ndarray
    seen: np.ndarray

    @property
    def rate(self) -> float:
        """Events seen a second."""
        return len(self.seen) / float(self.seen.max() - self.due[0])

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of the latency."""
        return float(np.percentile((self.seen - self.due) * 1000, share))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freshness", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--broker", choices=("kafka", "embedded", "both"), default="both", help="which broker")
    arguments = parser.parse_args()
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    for broker, home in brokers(arguments.broker):
        with (
            tempfile.TemporaryDirectory(prefix="streamrec-freshness-") as directory,
            Stage(Path(directory) / "run", home, LOG_EVENTS) as stage,
        ):
            capacity, found = _measure(stage, is_quick=arguments.quick)
        rows += [_row(broker, level, capacity, runs) for level, runs in found.items()]
        half = statistics.median(run.percentile_ms(99) for run in found[0.5])
        ratios |= {f"p99_ms_at_half, {broker}": half, f"capacity_per_s, {broker}": capacity}
    report("freshness", rows, ratios, packages=PACKAGES, as_json=arguments.json)


def _measure(stage: Stage, *, is_quick: bool) -> tuple[float, dict[float, list[Seen]]]:
    settings = stage.make_settings("freshness")
    watch = Watch(settings, stage.topic.topic_id)
    found: dict[float, list[Seen]] = {level: [] for level in LEVELS}
    with stage.child("worker", WORKER, settings) as worker:
        worker.wait_for_event("worker.ready", READY_TIMEOUT_S)
        wait_until(lambda: len(watch.marks()) == PARTITIONS, READY_TIMEOUT_S, "every partition is claimed")
        offered_s = OFFERED_S / 2 if is_quick else OFFERED_S
        tries = [_produce(stage, watch, OFFERED, int(OFFERED * offered_s)).rate for _ in range(3)]
        capacity = statistics.median(tries)
        print(f"  capacity: {', '.join(f'{rate:,.0f}' for rate in tries)}/s", file=sys.stderr, flush=True)
        seconds = QUICK_SECONDS if is_quick else SECONDS
        for _ in range(2 if is_quick else REPEATS):
            for level in LEVELS:
                run = _produce(stage, watch, level * capacity, int(level * capacity * seconds))
                found[level].append(run)
                shown = f"p50 {run.percentile_ms(50):.1f} ms, p99 {run.percentile_ms(99):.1f} ms"
                print(f"  {level:.0%} of {capacity:,.0f}/s: {shown}", file=sys.stderr, flush=True)
    watch.close()
    return capacity, found


def _produce(stage: Stage, watch: Watch, rate: float, events: int) -> Seen:
    """Send events on schedule and look at the watermarks until all are seen."""
    before = watch.marks()
    target = sum(before.values()) + events
    kept = stage.directory / f"sent-{target}.npz"
    where = [stage.broker.url, stage.topic.name, str(stage.log_path), str(rate), str(events), str(kept)]
    argv = [sys.executable, "-m", "benchmarks.ingest_sides.open_loop", *where]
    times: list[float] = []
    marks: list[list[int]] = []
    with stage.child(f"producer-{target}", argv, stage.settings) as child:
        child.wait_for_event("side.began", READY_TIMEOUT_S)
        pause, deadline = threading.Event(), time.monotonic() + RUN_TIMEOUT_S
        seen = before
        while sum(seen.values()) < target:
            if time.monotonic() > deadline:
                raise EngineError(f"not within {RUN_TIMEOUT_S:g} s: watermarks {seen} reach {target} together")
            pause.wait(LOOK_EVERY_S)
            looked = watch.marks()
            if looked != seen:
                seen = looked
                times.append(time.monotonic())
                marks.append([seen[partition] for partition in range(PARTITIONS)])
        child.wait_for_event("side.done", READY_TIMEOUT_S)
    with np.load(kept) as sent:
        return match(sent["due"], sent["partition"], sent["offset"], np.array(times), np.array(marks))


def match(due: np.ndarray, partition: np.ndarray, offset: np.ndarray, times: np.ndarray, marks: np.ndarray) -> Seen:
    """Return when the watermark of each event's partition was first seen behind it."""
    seen = np.empty(len(due))
    for number in range(PARTITIONS):
        own = partition == number
        seen[own] = times[np.searchsorted(marks[:, number], offset[own], side="right")]
    return Seen(due, seen)


def _row(broker: str, level: float, capacity: float, runs: Sequence[Seen]) -> Row:
    row: dict[str, object] = {"load": f"{level:.0%}", "broker": broker, "per_s": round(level * capacity)}
    for share in (50, 99):
        found = [run.percentile_ms(share) for run in runs]
        row |= {
            f"p{share}_ms": round(statistics.median(found), 1),
            f"p{share}_lowest": round(min(found), 1),
            f"p{share}_highest": round(max(found), 1),
        }
    return row


if __name__ == "__main__":
    main()
