"""A system with what a load test plays onto it, and the checks of what that leaves behind."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from rich.console import Console

from schemas.errors import ConfigurationError, DataError
from services.admin.catalogue import publish_items
from services.admin.rate import refuse_own_events
from services.cli.loadtest_checks import Played, check_run
from services.cli.loadtest_sources import load_source
from services.cli.loadtest_system import System, embedded_system, publish_with_vectors
from services.loadtest.assertions import Claim, check_names
from services.loadtest.load import Load
from services.loadtest.outcome import Outcome
from services.loadtest.plan import Plan, Terms, make_plan
from services.loadtest.report import Report, figure_names, make_report
from services.loadtest.run import member_names, run_plan
from services.loadtest.view import RunView
from streams.settings import Settings

PACKAGES = ("streamrec", "confluent-kafka", "kafka-python", "redis", "msgspec", "numpy")
KEPT_SETTINGS = ("policy", "seed", "epsilon", "partitions", "shards", "scorer_client", "fetch_wait_ms", "namespace")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call of the command asks for.

    Attributes:
        source: what to play.
        items: file or data set of the items; None for the source's own.
        columns: what a file calls a column.
        terms: of each run.
        out: folder for what is written.
        embedded: whether the system is the command's own.
        claims: what must hold.
        record: folder for events, schedule and answers; None for nowhere.
        watch: further processes to watch.
    """

    source: str
    items: str | None
    columns: dict[str, str] | None
    terms: Terms
    out: Path
    embedded: bool
    claims: list[Claim]
    record: Path | None
    watch: dict[str, int]


class Stage:
    """A system with its catalogue, and what was played onto it so far."""

    def __init__(self, asked: Asked, system: System, load: Load, directory: Path) -> None:
        self.load = load
        self.system = system
        self._asked = asked
        self._directory = directory
        self._played = Played()

    def refuse_unknown(self, claims: Sequence[Claim]) -> None:
        """Refuse claims about figures that there will be none of, before anything runs.

        Raises:
            ConfigurationError: with the names there will be.
        """
        watched = [*self.system.pids, *self._asked.watch, *member_names(self._asked.terms.generators)]
        try:
            check_names(claims, figure_names(watched))
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    def run(self, load: Load, terms: Terms, *, keeps_answers: bool = False) -> Outcome:
        """Run a load and show it."""
        plan = self._plan(load, terms)
        title = f"{load.name}, {terms.pace.describe()}"
        with RunView(title, Console(stderr=True)) as view:
            return run_plan(
                self.system.settings,
                plan,
                self._directory,
                pids=self.system.pids | self._asked.watch,
                check=self.system.check,
                on_look=view.show,
                keeps_answers=keeps_answers,
            )

    def report(self, outcome: Outcome) -> Report:
        """Compare what a run left behind with what was played, and return its report."""
        correctness = check_run(self.system.settings, outcome, self._played)
        return make_report(outcome, correctness, self.about())

    def about(self) -> dict[str, Any]:
        """Return what is to be said of the run: load, settings and versions."""
        return _about(self._asked, self.system)

    def _plan(self, load: Load, terms: Terms) -> Plan:
        try:
            return make_plan(uuid4().hex[:10], load, terms, self._directory)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error


@contextmanager
def prepared(asked: Asked, settings: Settings, *, is_knee: bool = False) -> Iterator[Stage]:
    """Give a system that is ready for the load, whose catalogue it has.

    Before a search or a run that is kept also what would appear later: no answer says which catalogue it saw.
    """
    refuse_own_events(settings)
    make_folder(asked.out)
    load = load_source(asked.source, asked.items, asked.columns, settings, None if is_knee else _limit(asked.terms))
    if is_knee or asked.record is not None:
        load = replace(load, items=[*load.items, *(item for _, item in load.new_items)], new_items=())
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamrec-loadtest-")))
        if asked.embedded:
            publish = partial(publish_with_vectors, load.items)
            system = stack.enter_context(embedded_system(settings, publish, asked.out))
        else:
            publish_items(settings, load.items)
            system = System(settings, {})
        yield Stage(asked, system, load, directory)


def _limit(terms: Terms) -> int | None:
    """Return how many events can be due; None for all there are."""
    pace, seconds = terms.pace, terms.duration_s
    if seconds is None or pace.speed is not None:
        return None
    return int(seconds * (pace.rate if pace.rate is not None else max(pace.ramp or (0.0,)))) + 1


def make_folder(path: Path) -> None:
    """Make the folder of a report.

    Raises:
        DataError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {path} cannot be made: {error}") from error


def _about(asked: Asked, system: System) -> dict[str, Any]:
    kept = system.settings.model_dump(include=set(KEPT_SETTINGS))
    return {
        "load": asked.source,
        "embedded": asked.embedded,
        "settings": kept,
        "versions": {name: version(name) for name in PACKAGES},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(),
    }
