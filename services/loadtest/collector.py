"""A process that notes when each answer came, and what it said of errors and of the state it had seen."""

import gc
import math
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from confluent_kafka import Consumer, TopicPartition

from schemas.errors import StreamrecError
from services.loadtest.crew import Channel
from services.loadtest.spool import Spool
from streams.bus.librdkafka import common_arguments
from streams.settings import Settings

POLL_S = 0.1
MOST_AT_ONCE = 1000
TELL_EVERY_S = 0.2
_HEAD = struct.Struct("<dI")


@dataclass(frozen=True, slots=True)
class CollectTask:
    """What the collector is told.

    Attributes:
        settings: where the bus is.
        run: prefix of the request ids that are ours.
        ratings: the spool of ratings, whose probes are waited for.
        requests: the spool of requests.
        starts: where to begin in each partition of the answers.
        partitions: how many ``ratings`` has.
        kept: file to write, with what became of each request.
        answers: file for the answers themselves; None where nobody keeps them.
    """

    settings: Settings
    run: str
    ratings: Path
    requests: Path
    starts: dict[int, int]
    partitions: int
    kept: Path
    answers: Path | None = None


class _Error(msgspec.Struct):
    code: str


class _State(msgspec.Struct):
    applied_to: dict[str, int] = {}


class _Answer(msgspec.Struct):
    """What is read of an answer."""

    request_id: str
    error: _Error | None = None
    state: _State = msgspec.field(default_factory=_State)


@dataclass(slots=True, eq=False)
class Came:
    """What came in answer to requests of one kind.

    Attributes:
        due: when each was due, from the start of the run.
        at_s: when its first answer came; NaN for none.
        codes: its error, as a place in ``names``; 0 for none.
        names: error codes.
        repeats: answers that had come before.
    """

    due: Any
    at_s: Any
    codes: Any
    names: list[str] = field(default_factory=lambda: [""])
    repeats: int = 0

    @classmethod
    def none_of(cls, due: Any) -> "Came":
        """Return that nothing came yet."""
        return cls(due, np.full(len(due), np.nan), np.zeros(len(due), np.uint8))

    def take(self, number: int, at_s: float, code: str) -> float:
        """Note an answer, and return its latency in seconds; NaN for a repeat."""
        if not math.isnan(self.at_s[number]):
            self.repeats += 1
            return math.nan
        self.at_s[number] = at_s
        if code:
            if code not in self.names:
                self.names.append(code)
            self.codes[number] = self.names.index(code)
        return at_s - float(self.due[number])


def collect(channel: Channel, task: CollectTask) -> None:
    """Note answers until told to end; the process's whole life."""
    _Collector(channel, task).run()


class _Collector:
    def __init__(self, channel: Channel, task: CollectTask) -> None:
        self._channel = channel
        self._task = task
        ratings, requests = Spool(task.ratings), Spool(task.requests)
        due = np.full(int(ratings.numbers.max(initial=-1)) + 1, np.nan)
        due[ratings.numbers[ratings.kinds == 0]] = ratings.due[ratings.kinds == 0]
        self.kinds = {"p": Came.none_of(due), "r": Came.none_of(requests.due)}
        self._applied_to = np.zeros((len(due), task.partitions), np.int64)
        self._decode = msgspec.json.Decoder(_Answer).decode
        self._recent: dict[str, list[float]] = {"p": [], "r": []}
        self._answered: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    def run(self) -> None:
        with ExitStack() as stack:
            file = stack.enter_context(self._task.answers.open("wb")) if self._task.answers else None
            consumer = self._connect()
            stack.callback(consumer.close)
            consumer.poll(0)
            gc.freeze()
            start = self._channel.wait_to_go()
            tell_at = start
            while True:
                self._take_all(_drain(consumer), time.monotonic() - start, file)
                if time.monotonic() >= tell_at:
                    tell_at = time.monotonic() + TELL_EVERY_S
                    if self._channel.is_told_to_end():
                        break
                    self._tell()
        self._keep()
        self._tell()
        self._channel.finish(kept=str(self._task.kept))

    def _connect(self) -> Any:
        settings = self._task.settings
        consumer = Consumer(
            common_arguments(settings)
            | {
                "group.id": f"{settings.namespace}.loadtest",  # librdkafka wants one; nothing is committed to it
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": settings.fetch_wait_ms,
            }
        )
        topic = settings.topic("recommendations")
        consumer.assign([TopicPartition(topic, partition, at) for partition, at in self._task.starts.items()])
        return consumer

    def _take_all(self, messages: list[Any], at_s: float, file: BinaryIO | None) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                if error.fatal() or not error.retriable():
                    raise StreamrecError(f"the answers cannot be read: {error}")
                continue
            value = message.value()
            if self._take(value, at_s) and file is not None:
                file.write(_HEAD.pack(at_s, len(value)))
                file.write(value)

    def _take(self, value: bytes | None, at_s: float) -> bool:
        """Note an answer; return whether it is ours."""
        try:
            answer = self._decode(value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        run, _, own = answer.request_id.rpartition("-")
        kind, digits = own[:1], own[1:]
        if run != self._task.run or kind not in self.kinds or not digits.isdecimal():
            return False
        number = int(digits)
        if number >= len(self.kinds[kind].due):
            return False
        code = "" if answer.error is None else answer.error.code
        latency_s = self.kinds[kind].take(number, at_s, code)
        if not math.isnan(latency_s):
            self._answered[kind] += 1
            self._recent[kind].append(latency_s)
            if code:
                self._errors[code] += 1
            if kind == "p":
                for partition, applied in answer.state.applied_to.items():
                    self._applied_to[number, int(partition)] = applied
        return True

    def _tell(self) -> None:
        told = {
            f"{kind}_{name}_ms": 1000 * float(np.percentile(latencies, share)) if latencies else None
            for kind, latencies in self._recent.items()
            for name, share in (("p50", 50), ("p99", 99))
        }
        self._recent = {kind: [] for kind in self._recent}
        self._channel.tell(
            answered=self._answered["r"], probes_answered=self._answered["p"], errors=dict(self._errors), **told
        )

    def _keep(self) -> None:
        probes, requests = self.kinds["p"], self.kinds["r"]
        np.savez(
            self._task.kept,
            probes_at_s=probes.at_s,
            probes_codes=probes.codes,
            probes_names=np.array(probes.names),
            applied_to=self._applied_to,
            requests_at_s=requests.at_s,
            requests_codes=requests.codes,
            requests_names=np.array(requests.names),
            repeats=probes.repeats + requests.repeats,
        )


def _drain(consumer: Any) -> list[Any]:
    """Return what is there, waiting for the first: ``consume`` alone waits until it has all it was asked for."""
    first = consumer.poll(POLL_S)
    return [] if first is None else [first, *consumer.consume(MOST_AT_ONCE, 0)]


def read_kept_answers(path: Path) -> Iterator[tuple[float, bytes]]:
    """Yield when each kept answer came, and its bytes."""
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            at_s, size = _HEAD.unpack(head)
            yield at_s, file.read(size)
