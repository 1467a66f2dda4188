"""Where a log ends, as fetches see it."""

import time
from collections.abc import Sequence
from typing import Any

from kafka import TopicPartition

from schemas.errors import StreamrecError

_POLL_MS = 20


def find_ends(consumer: Any, tps: Sequence[TopicPartition], timeout_s: float = 10.0) -> dict[TopicPartition, int]:
    """Return the end offset of each partition, from the high watermark of a fetch at its end.

    A broker may name too low an end when it is asked for offsets alone: the embedded one names the start of the last
    batch. Assigns the partitions and leaves the positions at or behind the ends named; records met are dropped.

    Raises:
        StreamrecError: a partition did not answer in time.
    """
    named = consumer.end_offsets(list(tps))
    consumer.assign(list(tps))
    for tp, end in named.items():
        consumer.seek(tp, end)
    deadline = time.monotonic() + timeout_s
    while missing := [tp for tp in tps if consumer.highwater(tp) is None]:
        if time.monotonic() > deadline:
            raise StreamrecError(f"partition {missing[0].partition} of {missing[0].topic!r} told no end")
        consumer.poll(timeout_ms=_POLL_MS)
    return {tp: max(named[tp], consumer.highwater(tp)) for tp in tps}
