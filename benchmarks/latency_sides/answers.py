"""A listener on the topic of answers that notes when bytes came, and looks at what they say after the run.

One fetch is under way at any time, on a socket of its own, with the bytes of a request made by hand: 60 bytes, of which
the offsets change. Of an answer only the headers of its record batches are looked at, for the next offsets.
"""

import pickle
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from aiokafka.record import MemoryRecords

from benchmarks.ingest_sides.log import PARTITIONS
from benchmarks.ingest_sides.progress import hold_signals, say, wait_to_go

FETCH, FETCH_VERSION = 1, 4
CLIENT = b"answers"
WAIT_MS = 200
MOST_BYTES = 64 * 1024 * 1024
QUIET_S = 30.0
SOCKET_TIMEOUT_S = 60.0

_REQUEST_HEAD = struct.Struct(">hhih")
_FETCH_HEAD = struct.Struct(">iiiibi")
_PARTITION = struct.Struct(">iqi")
_PARTITION_ANSWER = struct.Struct(">ihqq")
_INT = struct.Struct(">i")
_SHORT = struct.Struct(">h")
_LONG = struct.Struct(">q")
_LENGTH_AT, _LAST_DELTA_AT, _COUNT_AT, _BATCH_HEAD = 8, 23, 57, 61
"""Where a record batch has its length, the number of its last record, and how many it holds."""


class AnswerError(msgspec.Struct):
    """Why there are no items."""

    code: str


class AnswerTiming(msgspec.Struct):
    """Where the scorer's time went, in milliseconds."""

    queue_ms: float
    score_ms: float


class AnswerHead(msgspec.Struct):
    """What is read of an answer."""

    request_id: str
    timing: AnswerTiming
    error: AnswerError | None = None


def encode_fetch(topic: str, offsets: Sequence[int], number: int) -> bytes:
    """Return the bytes that ask for the records of each partition from its offset on."""
    name = topic.encode()
    body = [
        _REQUEST_HEAD.pack(FETCH, FETCH_VERSION, number, len(CLIENT)) + CLIENT,
        _FETCH_HEAD.pack(-1, WAIT_MS, 1, MOST_BYTES, 0, 1),
        _SHORT.pack(len(name)) + name + _INT.pack(len(offsets)),
        *(_PARTITION.pack(partition, offset, MOST_BYTES) for partition, offset in enumerate(offsets)),
    ]
    request = b"".join(body)
    return _INT.pack(len(request)) + request


def read_fetched(answer: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield partition and record batches of what a fetch of one topic was answered with.

    Raises:
        ValueError: the broker refused a partition.
    """
    if not _INT.unpack_from(answer, 8)[0]:
        return
    at = 12 + 2 + _SHORT.unpack_from(answer, 12)[0]
    (partitions,) = _INT.unpack_from(answer, at)
    at += 4
    for _ in range(partitions):
        partition, error, _, _ = _PARTITION_ANSWER.unpack_from(answer, at)
        if error:
            raise ValueError(f"partition {partition} cannot be read: error {error}")
        at += _PARTITION_ANSWER.size
        (aborted,) = _INT.unpack_from(answer, at)
        at += 4 + 16 * max(aborted, 0)
        (size,) = _INT.unpack_from(answer, at)
        at += 4
        if size > 0:
            yield partition, answer[at : at + size]
            at += size


def whole_batches(records: bytes) -> tuple[int, int, int]:
    """Return of record batches the bytes of the whole ones, how many records they hold, and the offset after them."""
    at = count = next_offset = 0
    while at + _BATCH_HEAD <= len(records):
        end = at + 12 + _INT.unpack_from(records, at + _LENGTH_AT)[0]
        if end > len(records):
            break
        next_offset = _LONG.unpack_from(records, at)[0] + _INT.unpack_from(records, at + _LAST_DELTA_AT)[0] + 1
        count += _INT.unpack_from(records, at + _COUNT_AT)[0]
        at = end
    return at, count, next_offset


def listen(servers: str, topic: str, offsets: list[int]) -> Iterator[tuple[float, int, bytes]]:
    """Yield, for ever, when something came, how many answers, and their bytes; 0 and none when nothing did.

    Raises:
        ConnectionError: the broker closed the connection.
    """
    host, _, port = servers.partition(",")[0].rpartition(":")
    connection = socket.create_connection((host, int(port)), SOCKET_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number = 0
    while True:
        number += 1
        connection.sendall(encode_fetch(topic, offsets, number))
        answer = _receive(connection, _INT.unpack(_receive(connection, 4))[0])
        now_s = time.monotonic()
        is_empty = True
        for partition, records in read_fetched(answer):
            size, count, next_offset = whole_batches(records)
            if count:
                is_empty = False
                offsets[partition] = next_offset
                yield now_s, count, records[:size]
        if is_empty:
            yield now_s, 0, b""


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray(size)
    view, at = memoryview(received), 0
    while at < size:
        got = connection.recv_into(view[at:])
        if not got:
            raise ConnectionError("the broker closed the connection")
        at += got
    return bytes(received)


def read_answers(path: Path) -> Iterator[tuple[float, AnswerHead]]:
    """Yield when each answer of a file came, and what it says."""
    decode = msgspec.json.Decoder(AnswerHead).decode
    for arrived_s, records in pickle.loads(path.read_bytes()):
        batches = MemoryRecords(records)
        while batches.has_next():
            for record in batches.next_batch():
                yield arrived_s, decode(record.value)


def main(servers: str, topic: str, target: str, kept: str, *offsets: str) -> None:
    """Listen until so many answers came, or none for half a minute; write what came at the parent's word.

    Args:
        servers: address of the broker.
        topic: of the answers.
        target: how many answers are waited for.
        kept: file to write.
        offsets: where to begin in each partition.
    """
    hold_signals()
    assert len(offsets) == PARTITIONS
    came: list[tuple[float, bytes]] = []
    missing, newest_s = int(target), time.monotonic()
    is_ready = False
    for now_s, count, records in listen(servers, topic, [int(offset) for offset in offsets]):
        if not is_ready:
            is_ready = True
            say("side.ready")
        if count:
            came.append((now_s, records))
            missing, newest_s = missing - count, now_s
        if missing <= 0 or now_s - newest_s > QUIET_S:
            break
    say("side.seen")
    wait_to_go()
    Path(kept).write_bytes(pickle.dumps(came))
    say("side.done")


if __name__ == "__main__":
    main(*sys.argv[1:])
