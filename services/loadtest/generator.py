"""A process that sends what is due when it is due, and notes where the broker put it.

The schedule is open: nothing waits for an acknowledgement or an answer. Each partition has one producer, which keeps
the order of a key; Tansu hides records from a live reader where several write to one partition.
"""

import gc
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from schemas.codec import encode
from schemas.events import Position, RecommendationRequest
from services.loadtest.crew import Channel
from services.loadtest.spool import ITEM, RATING, REQUEST, Spool
from streams.bus.librdkafka import make_librdkafka_producer
from streams.settings import Settings

NOT_ACKNOWLEDGED = -1
"""Partition and offset of a rating that the broker did not acknowledge."""
TICK_S = 0.001
LISTEN_S = 0.005
TELL_EVERY_S = 0.2
FLUSH_TIMEOUT_S = 60.0
_SERVE_EVERY = 32


@dataclass(frozen=True, slots=True)
class SendTask:
    """What a generator is told.

    Attributes:
        settings: where the bus is.
        spool: the rows.
        kept: file to write, with the outcome of each row.
        run: prefix of request ids.
        topics: by kind of row.
        deadline_ms: of a request that waits for a rating.
        partitions: of ``ratings``.
        share: its number among the generators of this spool, and how many there are.
        acknowledged: where it says which ratings that are asked after were acknowledged.
        asks_after: where it hears that, and asks.
    """

    settings: Settings
    spool: Path
    kept: Path
    run: str
    topics: tuple[str, ...]
    deadline_ms: int
    partitions: int = 1
    share: tuple[int, int] = (0, 1)
    acknowledged: Connection | None = None
    asks_after: tuple[Connection, ...] = ()


def probe_id(run: str, number: int) -> str:
    """Return the id of the request that waits for a rating."""
    return f"{run}-p{number}"


def request_id(run: str, number: int) -> str:
    """Return the id of a scheduled request."""
    return f"{run}-r{number}"


def probe_value(run: str, number: int, key: bytes, partition: int, offset: int, deadline_ms: int) -> bytes:
    """Return the record of the request that waits for a rating, whose place the broker has just acknowledged."""
    request = RecommendationRequest(
        request_id=probe_id(run, number),
        user_id=key.decode(),
        min_position=Position(partition=partition, offset=offset),
        deadline_ms=deadline_ms,
    )
    return encode(request)


def send(channel: Channel, task: SendTask) -> None:
    """Send a generator's share of a spool on schedule; the process's whole life."""
    _Sender(channel, task).run()


class _Sender:
    def __init__(self, channel: Channel, task: SendTask) -> None:
        self._channel = channel
        self._task = task
        self._spool = Spool(task.spool)
        self._rows = self._spool.share(*task.share, task.partitions)
        self._asks_after = list(task.asks_after)
        self._producer = make_librdkafka_producer(task.settings)
        self._partitions = np.full(len(self._spool), NOT_ACKNOWLEDGED, np.int32)
        self._offsets = np.full(len(self._spool), NOT_ACKNOWLEDGED, np.int64)
        self._late_s = np.full(len(self._spool), np.nan)
        self._counts = (self._spool.kinds != ITEM).astype(int).tolist()
        self._errors: Counter[str] = Counter()
        self._acknowledged = self._sent = self._probes = 0

    def run(self) -> None:
        for topic in set(self._task.topics) - {""}:
            self._producer.list_topics(topic, timeout=10)  # so that the first record waits for no metadata
        gc.collect()
        gc.freeze()
        gc.disable()
        start = self._channel.wait_to_go()
        tell_at = start
        for row in self._rows:
            due = start + float(self._spool.due[row])
            while (ahead := due - time.monotonic()) > 0:
                self._serve(max(TICK_S, min(ahead, TELL_EVERY_S)))
                tell_at = self._tell(tell_at)
            self._send(row, due)
            if row % _SERVE_EVERY == 0:
                self._serve(0)
                tell_at = self._tell(tell_at)
        while self._asks_after:
            self._serve(TELL_EVERY_S)
            tell_at = self._tell(tell_at)
        self._producer.flush(FLUSH_TIMEOUT_S)
        if self._task.acknowledged is not None:
            self._task.acknowledged.close()
        np.savez(self._task.kept, partitions=self._partitions, offsets=self._offsets, late_s=self._late_s)
        self._channel.tell(**self._figures())
        self._channel.finish(kept=str(self._task.kept))

    def _serve(self, wait_s: float) -> None:
        """Take in what the broker acknowledged, and ask after ratings, for at most some seconds."""
        if not self._asks_after:
            self._producer.poll(wait_s)
            return
        for connection in wait(self._asks_after, min(wait_s, LISTEN_S)):
            assert isinstance(connection, Connection)
            try:
                self._probe(*connection.recv())
            except EOFError:
                self._asks_after.remove(connection)
        self._producer.poll(0)

    def _send(self, row: int, due: float) -> None:
        key, value = self._spool.record(row)
        topic = self._task.topics[self._spool.kinds[row]]
        self._late_s[row] = time.monotonic() - due
        self._produce(topic, key, value, partial(self._note, row))
        self._sent += self._counts[row]

    def _produce(self, topic: str, key: bytes, value: bytes, note: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=note)
            except BufferError:
                self._producer.poll(TICK_S)
            else:
                return

    def _note(self, row: int, error: Any, message: Any) -> None:
        if error is not None:
            self._errors[error.name()] += 1
            return
        self._acknowledged += self._counts[row]
        self._partitions[row], self._offsets[row] = message.partition(), message.offset()
        if self._task.acknowledged is not None and self._spool.probed[row] and self._spool.kinds[row] == RATING:
            key, _ = self._spool.record(row)
            self._probes += 1
            self._task.acknowledged.send((int(self._spool.numbers[row]), key, message.partition(), message.offset()))

    def _probe(self, number: int, key: bytes, partition: int, offset: int) -> None:
        """Ask for the state that has a rating, whose place the broker has just acknowledged."""
        value = probe_value(self._task.run, number, key, partition, offset, self._task.deadline_ms)
        self._produce(self._task.topics[REQUEST], key, value, self._note_probe)

    def _note_probe(self, error: Any, _: Any) -> None:
        if error is not None:
            self._errors[error.name()] += 1

    def _tell(self, tell_at: float) -> float:
        now = time.monotonic()
        if now < tell_at:
            return tell_at
        self._channel.is_told_to_end()
        self._channel.tell(**self._figures())
        return now + TELL_EVERY_S

    def _figures(self) -> dict[str, Any]:
        return {
            "sent": self._sent,
            "acknowledged": self._acknowledged,
            "probes": self._probes,
            "errors": dict(self._errors),
        }
