"""A broker and a store with an append-only file, the log on a topic, and how a side is run between them."""

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.ingest_sides.log import PARTITIONS, LoggedRecord, fill_topic, keep_records, make_log, read_records
from benchmarks.ingest_sides.progress import GO
from recommender.embeddings.training import PcaSettings
from schemas.errors import EngineError
from services.admin.bus import open_admin
from services.admin.catalogue import publish_items
from services.admin.releases import publish_release
from services.runtime.engines import Engine, start_broker, start_store
from services.runtime.supervise import Child, Supervisor
from services.trainer.embeddings import train_embeddings
from streams.bus.topics import TopicInfo, create_topics, require_topic
from streams.settings import Settings
from streams.store.clients import make_client

ROOT = Path(__file__).resolve().parents[2]
QUIX_PYTHON = Path(sys.prefix) / "quix" / "bin" / "python"
"""Quix Streams has an environment of its own: `make bench` makes it."""

DIM = 16
READY_TIMEOUT_S = 120.0
RUN_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
EMBEDDED_SESSION_S = 3.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a side.

    Attributes:
        rate: events a second, between the first and the last seen done.
        cores: cores that the side's processes, the broker and the store used meanwhile.
    """

    rate: float
    cores: Mapping[str, float]


class Servers:
    """A broker, a store with an append-only file, and processes beside them; a context manager.

    Args:
        directory: everything of the run.
        kafka_home: an unpacked Apache Kafka; None for the embedded broker.
    """

    def __init__(self, directory: Path, kafka_home: Path | None) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.is_kafka = kafka_home is not None
        self.supervisor = Supervisor(directory)
        try:
            self.broker: Engine = start_broker(directory / "broker", kafka_home=kafka_home)
            self.supervisor.adopt(self.broker)
            self.store: Engine = start_store(directory / "store", appendonly=True)
            self.supervisor.adopt(self.store)
        except BaseException:
            self.close()
            raise

    def make_settings(self, namespace: str, **values: object) -> Settings:
        """Return settings of these servers; the embedded broker lets a group begin after half of its session."""
        waits = {} if self.is_kafka else {"session_timeout_s": EMBEDDED_SESSION_S}
        own = {
            "bootstrap_servers": self.broker.url,
            "redis_url": self.store.url,
            "namespace": namespace,
            "topic_prefix": "bench.",
            "model_dir": str(self.directory / "models"),
            "partitions": PARTITIONS,
        }
        return Settings(**own | waits | values)  # type: ignore[arg-type]

    @contextmanager
    def child(
        self, name: str, argv: Sequence[str], settings: Settings, *, grace_s: float = STOP_TIMEOUT_S
    ) -> Iterator[Child]:
        """Run a process until the block ends; it has ``grace_s`` to end by itself."""
        child = self._launch(name, argv, settings)
        try:
            yield child
        finally:
            child.stop(grace_s)

    def _launch(self, name: str, argv: Sequence[str], settings: Settings) -> Child:
        return self.supervisor.launch(name, argv, environment_of(settings) | {"TMPDIR": str(self.directory)})

    def cores_used(self, **children: Sequence[Child]) -> Callable[[], dict[str, float]]:
        """Begin to measure, and return what ends it: cores used by children, by name, by the broker and the store."""
        pids = {name: [child.pid for child in own] for name, own in children.items()}
        pids |= {"broker": [self.broker.pid], "store": [self.store.pid]}
        began, before = time.perf_counter(), {name: _cpu_s(own) for name, own in pids.items()}

        def end() -> dict[str, float]:
            seconds = time.perf_counter() - began
            return {name: (_cpu_s(own) - before[name]) / seconds for name, own in pids.items()}

        return end

    def close(self) -> None:
        """End every process."""
        self.supervisor.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stage(Servers):
    """The servers, topics, films with vectors, and the log as a file.

    Args:
        directory: everything of the run.
        kafka_home: an unpacked Apache Kafka; None for the embedded broker.
        events: ratings in the log.
    """

    def __init__(self, directory: Path, kafka_home: Path | None, events: int) -> None:
        super().__init__(directory, kafka_home)
        self.events = events
        self.log_path = directory / "ratings.parquet"
        self.records_path = directory / "ratings.pickle"
        self._ceiling: Child | None = None
        self._ceiling_runs = 0
        try:
            self._put_everything_there()
        except BaseException:
            self.close()
            raise

    def _put_everything_there(self) -> None:
        self.settings = self.make_settings("bench")
        items = make_log(self.log_path, self.events)
        self.item_ids = [item.item_id for item in items]
        with open_admin(self.settings) as admin:
            create_topics(admin, self.settings)
            self.topic: TopicInfo = require_topic(admin, self.settings.topic("ratings"))
        publish_items(self.settings, items)
        trained = train_embeddings(items, "pca", PcaSettings(dim=DIM), self.settings.model_dir, name="items")
        publish_release(self.settings, trained.release)
        self.records: list[list[LoggedRecord]] = read_records(self.log_path, PARTITIONS)
        keep_records(self.records_path, self.records)

    def fill(self, topic: str) -> None:
        """Put the log on a topic."""
        fill_topic(self.broker.url, topic, self.records)

    def empty_store(self) -> None:
        """Forget every state."""
        with make_client(self.settings) as client:
            client.flushall()

    def run_side(self, module: str, events: int, *, python: Path = Path(sys.executable)) -> Run:
        """Run a side that says itself when its first and its last event were done."""
        self.empty_store()
        name = f"{module}-{uuid.uuid4().hex[:6]}"
        where = [self.broker.url, self.store.url, self.topic.name, name, str(events)]
        argv = [str(python), "-m", f"benchmarks.ingest_sides.{module}", *where]
        with self.child(name, argv, self.make_settings(name), grace_s=0.0) as child:
            return self._measure(child)

    def run_ceiling(self) -> Run:
        """Run the store's ceiling, whose process makes ready the first time and waits from one run to the next."""
        if self._ceiling is None:
            self.empty_store()
            argv = [sys.executable, "-m", "benchmarks.ingest_sides.ceiling", str(self.records_path)]
            self._ceiling = self._launch("ceiling", argv, self.make_settings("ceiling"))
            self._ceiling.wait_for_event("side.ready", READY_TIMEOUT_S)
        self.empty_store()
        self._ceiling_runs += 1
        go(self._ceiling)
        return self._measure(self._ceiling, self._ceiling_runs)

    def _measure(self, child: Child, number: int = 1) -> Run:
        wait_for_event(child, "side.began", number, READY_TIMEOUT_S)
        measured = self.cores_used(side=[child])
        done = wait_for_event(child, "side.done", number, RUN_TIMEOUT_S)
        return Run(float(done["rate"]), measured())


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str, poll_s: float = POLL_S) -> None:
    """Return once a condition holds.

    Raises:
        EngineError: it does not in time.
    """
    pause, deadline = threading.Event(), time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise EngineError(f"not within {timeout_s:g} s: {what}")
        pause.wait(poll_s)


def wait_for_event(child: Child, name: str, number: int, timeout_s: float) -> dict[str, Any]:
    """Return the event that a child says for the ``number``-th time, counted from 1.

    Raises:
        EngineError: the child ended, or does not say it in time.
    """
    found: list[dict[str, Any]] = []

    def is_said() -> bool:
        found[:] = [event for event in child.events() if event.get("event") == name]
        if len(found) < number:
            child.check()
        return len(found) >= number

    wait_until(is_said, timeout_s, f"{child.name} says {name}, time {number}; its log is {child.log_path}")
    return found[number - 1]


def go(child: Child) -> None:
    """Let a child that waits for it go on."""
    os.kill(child.pid, GO)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return every setting as a process is told it, so that no file of a developer's can say otherwise."""
    values = settings.model_dump(exclude_none=True)
    return {"PYTHONPATH": str(ROOT)} | {f"STREAMREC_{name.upper()}": str(value) for name, value in values.items()}


def _cpu_s(pids: Sequence[int]) -> float:
    seconds = 0.0
    for pid in pids:
        times = psutil.Process(pid).cpu_times()
        seconds += times.user + times.system
    return seconds
