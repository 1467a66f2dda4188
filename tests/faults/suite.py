"""Runs rows, seed after seed, some rows at once, each on a broker and a store of its own."""

import contextlib
import logging
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import structlog

from services.runtime.engines import start_broker, start_store
from tests.faults.mutations import MUTATIONS
from tests.faults.rows import ROWS, Row, rows_on
from tests.faults.stage import PromiseBrokenError, Servers, Stage


@dataclass(frozen=True, slots=True)
class Job:
    """A row on a broker, perhaps without one guard.

    Attributes:
        number: of the row.
        broker: ``tansu`` or ``kafka``.
        mutation: name of the guard that is taken out.
    """

    number: str
    broker: str
    mutation: str | None = None

    @property
    def row(self) -> Row:
        return next(row for row in ROWS if row.number == self.number)

    def __str__(self) -> str:
        whole = f"{self.number} {self.broker}"
        return whole if self.mutation is None else f"{whole} without {MUTATIONS[self.mutation].what}"


@dataclass(slots=True)
class Result:
    """What the seeds of one row found.

    Attributes:
        is_promise_broken: whether the last fault is a broken promise; it may be that a server did not start.
        wall_s: seconds of all seeds, starts of the servers included.
    """

    number: str
    what: str
    recovery: str
    broker: str
    seeds: int = 0
    recoveries_s: list[float] = field(default_factory=list)
    events: int = 0
    faults: list[str] = field(default_factory=list)
    is_promise_broken: bool = False
    wall_s: float = 0.0

    @property
    def is_green(self) -> bool:
        return not self.faults and self.seeds > 0

    def as_json(self) -> dict:
        times = self.recoveries_s
        return asdict(self) | {
            "recovery_p50_s": statistics.median(times) if times else None,
            "recovery_max_s": max(times, default=None),
        }


def jobs_of(rows: Sequence[Row], home: Path | None) -> list[Job]:
    """Return each row on each broker it is run on; on Apache Kafka where there is one."""
    return [Job(row.number, broker) for broker in _brokers(home) for row in rows_on(broker, rows)]


def mutated_jobs(names: Sequence[str], home: Path | None) -> list[Job]:
    """Return for each missing guard the row that must see it, on each broker that row is run on."""
    return [
        Job(row.number, broker, name)
        for name in names
        for broker in _brokers(home)
        for row in rows_on(broker, ROWS)
        if row.number == MUTATIONS[name].row
    ]


def _brokers(home: Path | None) -> list[str]:
    return ["tansu"] if home is None else ["tansu", "kafka"]


def run_jobs(
    jobs: Sequence[Job], seeds: int, at_once: int, home: Path | None, say: Callable[[str], None]
) -> list[Result]:
    """Run jobs, so many at once, those with long seeds first; each is alone in a process."""
    results = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=spawn, initializer=_hush) as pool:
        ordered = sorted(jobs, key=lambda job: job.row.seed_s, reverse=True)
        running = {pool.submit(run_job, job, seeds, home): job for job in ordered}
        for done in as_completed(running):
            job, result = running[done], done.result()
            results[job] = result
            left = len(jobs) - len(results)
            ran = result.seeds + len(result.faults)
            say(f"[{job}] {_found(job, result)}: {ran} seeds in {result.wall_s:.0f} s; {left} rows to go")
    return [results[job] for job in jobs]


def _found(job: Job, result: Result) -> str:
    if job.mutation is not None:
        return "seen" if result.is_promise_broken else "NOT SEEN"
    return "green" if result.is_green else "RED"


def _hush() -> None:
    """Keep the product's log lines out of the suite's."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def run_job(job: Job, seeds: int, home: Path | None) -> Result:
    """Run a row once a seed, up to its first fault; without a guard, up to its first broken promise.

    What failed and should not have leaves its directory, for the logs. Without a guard every seed is on servers of its
    own, as nobody knows what the one before left.
    """
    say = partial(print, f"[{job}]", flush=True)
    row, began = job.row, time.monotonic()
    result = Result(row.number, row.what, row.recovery, job.broker)
    for some in [range(seeds)] if job.mutation is None else [range(seed, seed + 1) for seed in range(seeds)]:
        directory, before = Path(tempfile.mkdtemp(prefix="faults-")), result.seeds
        error = _run_seeds(job, some, home, directory, result, say)
        result.is_promise_broken = isinstance(error, PromiseBrokenError)
        if error is not None:
            result.faults.append(f"seed {some[result.seeds - before]}: {type(error).__name__}: {error}")
            say(result.faults[-1])
        if error is None or (job.mutation is not None and result.is_promise_broken):
            shutil.rmtree(directory)
        else:
            say(f"logs are in {directory}")
        if result.is_promise_broken:
            break
    result.wall_s = round(time.monotonic() - began, 1)
    return result


def _run_seeds(
    job: Job, seeds: Sequence[int], home: Path | None, directory: Path, result: Result, say: Callable[[str], None]
) -> Exception | None:
    """Run a row once a seed on one pair of servers; return what went wrong first."""
    try:
        with _running(directory, home if job.broker == "kafka" else None) as servers, contextlib.ExitStack() as stack:
            stage: Stage | None = None
            for seed in seeds:
                began = time.monotonic()
                if stage is None or job.row.is_fresh:
                    stack.close()
                    stage = stack.enter_context(Stage(servers, directory / f"seed{seed}", mutation=job.mutation))
                seconds = _run_seed(job.row, stage, random.Random(f"{job.number} {seed}"), is_last=seed == seeds[-1])
                result.seeds += 1
                result.recoveries_s.append(round(seconds, 3))
                result.events = stage.book.size
                say(f"seed {seed}: {seconds:.2f} s to recover, {time.monotonic() - began:.1f} s in all")
    except Exception as error:  # noqa: BLE001 - whatever it is, the row is red
        return error
    return None


def _run_seed(row: Row, stage: Stage, draws: random.Random, *, is_last: bool) -> float:
    seconds = row.run(stage, draws)
    if row.settles:
        stage.settle()
        if is_last or row.is_fresh:
            stage.end_workers()
    if row.is_checked:
        stage.check()
    return seconds


@contextlib.contextmanager
def _running(directory: Path, home: Path | None) -> Iterator[Servers]:
    with (
        start_broker(directory / "broker", kafka_home=home) as broker,
        start_store(directory / "store", appendonly=True) as store,
    ):
        yield Servers(broker, store)


def kafka_home() -> Path | None:
    home = os.environ.get("KAFKA_HOME")
    return Path(home) if home else None
