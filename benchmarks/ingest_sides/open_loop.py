"""A producer whose events are due at times of their own, however late those before them went out.

Every request is encoded before the clock starts: what is due within a tick, a batch a partition, as a producer that
lingers sends it, acknowledged by all replicas. Sending is then a write to a socket each tick, and costs the machine
next to nothing. What it leaves behind: when each event was due, and where it lies in the log.
"""

import math
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.producer import ProduceRequest

from benchmarks.ingest_sides.log import PARTITIONS, LoggedRecord, load_records
from benchmarks.ingest_sides.progress import hold_signals, say, wait_to_go

TICK_S = 0.005
LEAD_S = 0.2
ALL_REPLICAS = -1
REQUEST_VERSION = 9
REQUEST_TIMEOUT_MS = 30_000
SOCKET_TIMEOUT_S = 120.0
RECEIVE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Tick:
    """What is sent at once.

    Attributes:
        at_s: when, in seconds from the start.
        first: number of its first event.
        end: number of the first event after it.
    """

    at_s: float
    first: int
    end: int


def ticks(rate: float, events: int, tick_s: float = TICK_S) -> Iterator[Tick]:
    """Yield the ticks that have events; event ``i`` is due at ``i / rate`` and goes out at the first tick after that.

    Args:
        rate: events a second.
        events: how many.
        tick_s: from one tick to the next, in seconds.

    >>> list(ticks(300.0, 3))
    [Tick(at_s=0.005, first=0, end=2), Tick(at_s=0.01, first=2, end=3)]
    """
    first = 0
    for number in range(1, math.ceil(events / rate / tick_s) + 1):
        end = min(events, math.ceil(number * tick_s * rate))
        if end > first:
            yield Tick(number * tick_s, first, end)
        first = end


class Connection:
    """One connection to the broker, whose requests are encoded before they are sent.

    Args:
        servers: address of the broker; the first when there are several.
        topic: name of the topic.
    """

    def __init__(self, servers: str, topic: str) -> None:
        host, _, port = servers.partition(",")[0].rpartition(":")
        self._socket = socket.create_connection((host, int(port)), SOCKET_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._topic = topic
        self._protocol = KafkaProtocol(client_id="open-loop")
        self._received: list[bytes] = []

    def encode(self, records: Sequence[Sequence[LoggedRecord]]) -> bytes:
        """Return the bytes that produce these records, by partition; they are sent in the order of encoding."""
        kind = ProduceRequest.TopicProduceData
        batches = [
            kind.PartitionProduceData(index=partition, records=_batch(own))
            for partition, own in enumerate(records)
            if own
        ]
        request = ProduceRequest(
            version=REQUEST_VERSION,
            transactional_id=None,
            acks=ALL_REPLICAS,
            timeout_ms=REQUEST_TIMEOUT_MS,
            topic_data=[kind(name=self._topic, partition_data=batches)],
        )
        self._protocol.send_request(request)
        return bytes(self._protocol.send_bytes())

    def send(self, request: bytes) -> None:
        """Send an encoded request, and take what the broker answered meanwhile without looking at it."""
        self._socket.sendall(request)
        try:
            self._received.append(self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return

    def offsets(self) -> list[dict[int, int]]:
        """Wait for the answer to each request, and return the first offset in each of its partitions.

        Raises:
            ConnectionError: the broker closed the connection.
            ValueError: the broker refused a batch.
        """
        answers: list[dict[int, int]] = []
        while True:
            for received in self._received:
                answers += [first_offsets(answer) for _, answer in self._protocol.receive_bytes(received)]
            if not self._protocol.in_flight_requests:
                return answers
            self._received = [self._socket.recv(RECEIVE_BYTES)]
            if not self._received[0]:
                raise ConnectionError("the broker closed the connection")


def _batch(records: Sequence[LoggedRecord]) -> bytes:
    size = sum(len(record.key) + len(record.value) for record in records) + 100 * (len(records) + 1)
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=size,
    )
    now_ms = int(time.time() * 1000)
    for offset, record in enumerate(records):
        builder.append(offset, timestamp=now_ms, key=record.key, value=record.value, headers=[])
    return bytes(builder.build())


def first_offsets(answer: Any) -> dict[int, int]:
    """Return the first offset in each partition that an answer names.

    Raises:
        ValueError: the broker refused a batch.
    """
    found = {}
    for topic in answer.responses:
        for each in topic.partition_responses:
            if each.error_code:
                raise ValueError(f"partition {each.index} refused a batch: error {each.error_code}")
            found[each.index] = each.base_offset
    return found


def mix(records: Sequence[Sequence[LoggedRecord]], events: int) -> list[tuple[int, LoggedRecord]]:
    """Return so many records with their partitions, which take turns; each begins anew where its records end."""
    sizes = [len(own) for own in records]
    return [
        (number % len(records), records[number % len(records)][number // len(records) % sizes[number % len(records)]])
        for number in range(events)
    ]


def main(servers: str, topic: str, log: str, rate: str, events: str, kept: str, tick_s: str = str(TICK_S)) -> None:
    """Send ``events`` at ``rate`` a second, once the parent says so, and write what is left behind at its next word."""
    hold_signals()
    mixed = mix(load_records(Path(log)), int(events))
    partition = np.array([partition for partition, _ in mixed])
    connection = Connection(servers, topic)
    plan = []
    for tick in ticks(float(rate), len(mixed), float(tick_s)):
        by_partition: list[list[LoggedRecord]] = [[] for _ in range(PARTITIONS)]
        for own, record in mixed[tick.first : tick.end]:
            by_partition[own].append(record)
        plan.append((tick, connection.encode(by_partition)))
    say("side.ready")
    wait_to_go()
    began = time.monotonic() + LEAD_S
    for tick, request in plan:
        time.sleep(max(0.0, began + tick.at_s - time.monotonic()))
        connection.send(request)
    ended = time.monotonic()
    wait_to_go()
    offset = np.empty(len(mixed), np.int64)
    for (tick, _), first in zip(plan, connection.offsets(), strict=True):
        for own, begin in first.items():
            members = tick.first + np.flatnonzero(partition[tick.first : tick.end] == own)
            offset[members] = begin + np.arange(len(members))
    due = began + np.arange(len(mixed)) / float(rate)
    np.savez(kept, due=due, partition=partition, offset=offset, ended=ended)
    say("side.done")


if __name__ == "__main__":
    main(*sys.argv[1:])
