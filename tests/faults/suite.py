"""Runs rows, seed after seed, and mutations, which must turn a row red."""

import contextlib
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from services.runtime.engines import start_broker, start_store
from tests.faults.mutations import MUTATIONS
from tests.faults.rows import Row, chosen_rows, rows_on
from tests.faults.stage import Servers, Stage

STORE_FILES = "appendonlydir"


@dataclass(slots=True)
class Result:
    """What the seeds of one row found."""

    number: str
    what: str
    recovery: str
    broker: str
    seeds: int = 0
    recoveries_s: list[float] = field(default_factory=list)
    events: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def is_green(self) -> bool:
        return not self.faults and self.seeds > 0

    def as_json(self) -> dict:
        times = self.recoveries_s
        return asdict(self) | {
            "recovery_p50_s": statistics.median(times) if times else None,
            "recovery_max_s": max(times, default=None),
        }


@contextlib.contextmanager
def running(directory: Path, kafka_home: Path | None) -> Iterator[Servers]:
    with (
        start_broker(directory / "broker", kafka_home=kafka_home) as broker,
        start_store(directory / "store", appendonly=True) as store,
    ):
        yield Servers(broker, store, kafka_home is not None)


def run_row(
    row: Row,
    servers: Servers,
    directory: Path,
    seeds: Sequence[int],
    say: Callable[[str], None] = print,
    mutation: str | None = None,
) -> Result:
    """Run a row once a seed and return what was found; it ends at its first fault."""
    result = Result(row.number, row.what, row.recovery, servers.broker.name)
    stage: Stage | None = None
    try:
        for seed in seeds:
            if stage is None or row.is_fresh:
                if stage is not None:
                    stage.close()
                stage = Stage(servers, _empty(directory / f"{row.number}-{seed}"), mutation=mutation)
            began = time.monotonic()
            seconds = row.run(stage, random.Random(f"{row.number} {seed}"))
            if row.settles:
                stage.settle()
            if row.is_checked:
                stage.check()
            result.seeds += 1
            result.recoveries_s.append(round(seconds, 3))
            result.events = stage.book.size
            say(f"row {row.number} seed {seed}: {seconds:.2f} s to recover, {time.monotonic() - began:.1f} s in all")
    except Exception as error:  # noqa: BLE001 - whatever it is, the row is red
        result.faults.append(f"seed {seed}: {type(error).__name__}: {error}")
        say(f"row {row.number} seed {seed}: RED: {type(error).__name__}: {error}")
    finally:
        if stage is not None:
            stage.close()
            _clean(servers, stage)
    return result


def run_rows(
    rows: Sequence[Row], seeds: int, kafka_home: Path | None, say: Callable[[str], None] = print
) -> list[Result]:
    """Run rows on one pair of servers."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name, running(Path(name), kafka_home) as servers:
        return [run_row(row, servers, Path(name), range(seeds), say) for row in rows]


def run_lanes(chosen: str | None, seeds: int, kafka_home: Path | None) -> list[Result]:
    """Run rows on Tansu, and beside that, where there is an Apache Kafka, those of the bus on Kafka.

    Each lane is a process with servers of its own.
    """
    homes = {"tansu": None} | ({} if kafka_home is None else {"kafka": kafka_home})
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(homes), mp_context=spawn) as lanes:
        running = [lanes.submit(_run_lane, broker, chosen, seeds, home) for broker, home in homes.items()]
        return [result for lane in running for result in lane.result()]


def _run_lane(broker: str, chosen: str | None, seeds: int, kafka_home: Path | None) -> list[Result]:
    rows = rows_on(broker, chosen_rows(chosen))
    return run_rows(rows, seeds, kafka_home, partial(print, f"[{broker}]", flush=True)) if rows else []


def run_mutations(
    names: Sequence[str], seeds: int, kafka_home: Path | None, say: Callable[[str], None] = print
) -> dict[str, Result]:
    """Run the row that must see each missing guard."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as name, running(Path(name), kafka_home) as servers:
        for mutation in names:
            (row,) = chosen_rows(MUTATIONS[mutation].row) if MUTATIONS[mutation].row != "4" else chosen_rows("4")[:1]
            say(f"without {MUTATIONS[mutation].what}:")
            directory = Path(name) / f"without-{mutation.replace(' ', '-')}"
            found[mutation] = run_row(row, servers, directory, range(seeds), say, mutation)
    return found


def _empty(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _clean(servers: Servers, stage: Stage) -> None:
    """Leave an empty store to the next row."""
    with contextlib.suppress(Exception):
        servers.store.check()
    servers.store.stop()
    shutil.rmtree(servers.store.directory / STORE_FILES, ignore_errors=True)
    servers.store.restart()


def kafka_home() -> Path | None:
    home = os.environ.get("KAFKA_HOME")
    return Path(home) if home else None
