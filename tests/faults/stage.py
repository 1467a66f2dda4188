"""One system under faults: its servers, its workers run by the launcher, its traffic, and the check at the end."""

import contextlib
import itertools
import json
import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import redis
from kafka import TopicPartition

from recommender.embeddings.training import PcaSettings
from schemas.errors import EngineError
from schemas.events import ModelRelease
from services.admin.releases import publish_release
from services.lab.synthetic import Sizes, generate
from services.runtime.engines import Engine
from services.runtime.supervise import Child
from services.trainer.embeddings import train_embeddings
from streams.bus.clients import make_consumer, make_producer
from streams.bus.ends import find_ends
from streams.models.releases import embedding_id, load_release
from streams.settings import Settings
from streams.store.keys import ShardKeys
from streams.store.writer import Watermark
from tests.faults import checker
from tests.faults.book import ITEMS, Book, Message, draw_messages
from tests.faults.proxy import Proxy
from tests.integration.system import STOP_S, System, environment_of
from tests.waiting import wait_until

LAUNCHER = (sys.executable, "-m", "tests.faults.launcher")
SESSION_S = 1.5
SETTLE_S = 60.0
RECONNECT_MS = 200
DIM = 4
BROKEN_LEDGER = "do not fit a ledger"


class PromiseBrokenError(AssertionError):
    """The system is not as promised."""


class FaultMissedError(AssertionError):
    """The fault did not do what it should, so the row shows nothing."""


def pause(seconds: float) -> None:
    """Let a fault last: the one thing here that has no condition to wait on."""
    moment = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= moment, seconds + 5)


@dataclass(frozen=True, slots=True)
class Servers:
    """The running broker and store."""

    broker: Engine
    store: Engine


@cache
def films():
    return generate(0, Sizes(users=2, items=ITEMS, ratings=2))[0]


def _vectors(release: ModelRelease) -> dict[str, list[float]]:
    rows, has_vector = load_release(release).vectors_for(films())
    assert has_vector.all()
    return {item.item_id: row.tolist() for item, row in zip(films(), rows, strict=True)}


class Stage(System):
    """A namespace and topics of its own on the suite's servers."""

    def __init__(self, servers: Servers, directory: Path, *, mutation: str | None = None, **values) -> None:
        unique = uuid.uuid4().hex[:10]
        own = {
            "bootstrap_servers": servers.broker.url,
            "redis_url": servers.store.url,
            "topic_prefix": f"{unique}.",
            "namespace": f"f-{unique}",
            "model_dir": str(directory / "models"),
            "fetch_wait_ms": 30,
            "session_timeout_s": SESSION_S,
            "rebalance_timeout_s": 2,
            "store_timeout_s": 1.0,
            "partitions": 3,
            "shards": 2,
        }
        self.servers = servers
        self.directory = directory
        self.mutation = mutation
        self.book = Book()
        self.proxy: Proxy | None = None
        self._proxies = contextlib.ExitStack()
        self._tokens = itertools.count()
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(Settings(**own | values), directory)
        self.publish(films())
        self.releases: list[ModelRelease] = []
        self.release(DIM)
        self.producer = self.make_producer()

    # Processes

    def worker(self, name: str = "worker", *arguments: str, ready: bool = True, settings=None, **faults: str) -> Child:
        """Run a worker by the launcher; ``faults`` are its variables beside those of the settings."""
        environment = environment_of(settings or self.settings) | {"FAULTS_ARM": str(self._arm(name))} | faults
        if self.mutation is not None:
            environment["FAULTS_MUTATION"] = self.mutation
        child = self.supervisor.launch(name, [*LAUNCHER, "worker", *arguments], environment)
        self.children[name] = child
        if ready:
            child.wait_for_event("worker.ready")
        return child

    def first_worker(self, settings: Settings | None = None) -> Child:
        """Return the worker named ``worker``; it is started for the first seed, and serves the others."""
        return self.children.get("worker") or self.worker(settings=settings)

    def end_workers(self) -> None:
        """End every worker that still runs.

        Raises:
            PromiseBrokenError: one does not end with 0 within 10 s.
        """
        running = [child for child in self.children.values() if child.returncode is None]
        for child in running:
            child.terminate()
        ended = {child.name: child.wait(STOP_S) for child in running}
        if wrong := {name: code for name, code in ended.items() if code != 0}:
            raise PromiseBrokenError(f"told to end, workers ended with {wrong}")

    def open_proxy(self, port: int) -> Proxy:
        """Open the stage's proxy, to a port; it is closed after the workers."""
        self.proxy = self._proxies.enter_context(Proxy(port))
        return self.proxy

    def arm(self, at: str, do: str, after: int = 1, name: str = "worker", partition: str | None = None) -> None:
        """Let a worker do something at a coming passage of a point, perhaps only with one partition."""
        path = self._arm(name)
        taken = path.with_suffix(".taken")
        taken.unlink(missing_ok=True)
        text = json.dumps({"at": at, "do": do, "after": after, "partition": partition, "token": next(self._tokens)})
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").rename(path)

    def wait_until_held(self, name: str = "worker", timeout_s: float = 30.0) -> None:
        wait_until(self._arm(name).with_suffix(".taken").exists, timeout_s, f"{name} is held")

    def release_held(self, name: str = "worker") -> None:
        self._arm(name).with_suffix(".taken").unlink()

    def _arm(self, name: str) -> Path:
        return self.directory / f"{name}.arm"

    def release(self, dim: int, name: str = "items") -> None:
        """Make and publish an embedding of the films."""
        directory, version = self.settings.model_dir, f"v{len(self.releases)}"
        trained = train_embeddings(films(), "pca", PcaSettings(dim=dim), directory, name=name, version=version)
        self.releases.append(trained.release)
        publish_release(self.settings, trained.release)

    # Traffic

    def make_producer(self) -> Any:
        """Return a producer that finds a broker again as soon as it is back; by default it waits up to 30 s longer."""
        return make_producer(self.settings, reconnect_backoff_max_ms=RECONNECT_MS)

    @contextlib.contextmanager
    def traffic(self, draws: random.Random, count: int = 1200, rate: float = 1200.0, **how) -> Iterator[None]:
        """Publish records beside what the block does; all are acknowledged and in the book afterwards."""
        messages = list(draw_messages(draws, count, self.topics["ratings"].partitions, **how))
        failures = []

        def work() -> None:
            try:
                self.send(messages, rate)
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)

        thread = threading.Thread(target=work, name="traffic")
        thread.start()
        try:
            yield
        finally:
            thread.join(SETTLE_S * 2)
        if failures:
            raise PromiseBrokenError(f"the traffic failed: {failures[0]!r}") from failures[0]

    def send(self, messages: list[Message], rate: float | None = None) -> None:
        topic, began, pause = self.topics["ratings"].name, time.monotonic(), threading.Event()
        sent = []
        for number, message in enumerate(messages):
            if rate is not None and (ahead := began + number / rate - time.monotonic()) > 0:
                pause.wait(ahead)
            key = message.user_id.encode() or None
            sent.append(self.producer.send(topic, key=key, value=message.value, partition=message.partition))
        for message, future in zip(messages, sent, strict=True):
            self.book.note(future.get(timeout=SETTLE_S * 2).offset, message)

    # State

    def watermarks(self) -> dict[int, int]:
        """The smallest next offset of all shards, by partition."""
        return {partition: min(self.next_offsets(partition)) for partition in range(self.topics["ratings"].partitions)}

    def next_offsets(self, partition: int) -> list[int]:
        """The next offset of a partition in each shard; 0 where there is no watermark."""
        return [0 if mark is None else mark.next_offset for mark in self.marks(partition)]

    def marks(self, partition: int) -> list[Watermark | None]:
        """The watermark of a partition in each shard."""
        topic_id = self.topics["ratings"].topic_id
        keys = [
            ShardKeys(self.settings.namespace, shard).watermark(topic_id, partition)
            for shard in range(self.settings.shards)
        ]
        return [None if value is None else Watermark.parse(value) for value in map(self.store.get, keys)]

    def progress(self) -> int:
        """The sum of the watermarks; -1 while the store does not answer."""
        try:
            return sum(self.watermarks().values())
        except redis.RedisError:
            return -1

    def recovery_s(self, since: float, mark: int, timeout_s: float = 60.0) -> float:
        """Return the seconds from a moment until the watermarks are past a mark."""

        def is_past() -> bool:
            if self.progress() > mark:
                return True
            if not any(thread.name == "traffic" for thread in threading.enumerate()) and self.book.size <= mark:
                self.send(list(draw_messages(random.Random(mark), 20, self.topics["ratings"].partitions)))
            return False

        wait_until(is_past, timeout_s, f"the watermarks pass {mark}")
        return time.monotonic() - since

    def settle(self, timeout_s: float = SETTLE_S) -> None:
        """Wait until everything acknowledged is behind the watermarks, while no worker dies.

        Raises:
            PromiseBrokenError: it is not in time, or a worker died of a ledger that cannot be read.
            EngineError: a worker died of something else.
        """
        ends = self.book.ends()

        def is_done() -> bool:
            self.supervisor.check()
            found = self.watermarks()
            return all(found[partition] >= end for partition, end in ends.items())

        try:
            wait_until(is_done, timeout_s)
        except EngineError as error:
            if BROKEN_LEDGER in str(error):
                raise PromiseBrokenError(f"a ledger cannot be read\n{error}") from error
            raise
        except AssertionError as error:
            late = f"not within {timeout_s:g} s: watermarks {self.watermarks()} reach {ends}"
            raise PromiseBrokenError(late) from error

    def check(self) -> None:
        """Compare every field of everything with the book.

        Raises:
            PromiseBrokenError: naming the first differences.
        """
        vectors = {embedding_id(release): _vectors(release) for release in self.releases}
        faults = checker.state_faults(
            self.store, self.settings.namespace, self.settings.shards, self.book, vectors
        ) + checker.letter_faults(self.letters(), self.topics["ratings"].topic_id, self.book)
        if faults:
            more = len(faults) - checker.MOST_SHOWN
            shown = "; ".join(faults[: checker.MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
            raise PromiseBrokenError(shown)

    def letters(self) -> list:
        """Every record of the dead-letter topic."""
        topic, found = self.topics["ratings.dlq"], []
        consumer = make_consumer(self.settings)
        try:
            tps = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
            ends = find_ends(consumer, tps)
            consumer.assign(tps)
            consumer.seek_to_beginning(*tps)
            deadline = time.monotonic() + SETTLE_S
            while any(consumer.position(tp) < end for tp, end in ends.items()):
                if time.monotonic() > deadline:
                    raise PromiseBrokenError(f"the dead letters cannot be read to {ends}")
                for records in consumer.poll(timeout_ms=100).values():
                    found += records
        finally:
            consumer.close()
        return found

    def close(self) -> None:
        self.producer.close(timeout=5)
        for path in self.directory.glob("*.taken"):
            path.unlink()
        super().close()
        self._proxies.close()
