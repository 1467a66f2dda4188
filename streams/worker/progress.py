"""How far the partitions of this worker are, and which of them stand still."""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Protocol

from streams.worker import metrics


class Followed(Protocol):
    """One assigned partition, as far as its progress is concerned.

    Attributes:
        partition: the partition.
        watermark: the first offset not applied; None before the partition was claimed.
        moved_s: when the watermark last moved or was found at the end of the log, on the monotonic clock.
    """

    partition: int
    watermark: int | None
    moved_s: float

    def known_end(self) -> int | None:
        """Return the end of the log as the newest fetch saw it, None before one."""


class Progress:
    """The assigned partitions; their gauges are computed when somebody looks, so a batch costs nothing.

    A partition stands still when its watermark neither moved nor was found at the end of the log for a while: events
    wait and are not applied, or the broker or the store does not answer, so nobody knows whether any wait. A healthy
    idle partition is found at its end at least every second.

    Args:
        stalled_after_s: how long that is.
        clock: the monotonic clock.
    """

    def __init__(self, stalled_after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stalled_after_s = stalled_after_s
        self._clock = clock
        self._logs: dict[int, Followed] = {}

    def add(self, log: Followed) -> None:
        """Follow a partition that was just assigned."""
        self._logs[log.partition] = log
        label = str(log.partition)
        metrics.LAG.labels(label).set_function(lambda: _or_nan(lag_of(log)))
        metrics.NEXT_OFFSET.labels(label).set_function(lambda: _or_nan(log.watermark))
        metrics.AGE.labels(label).set_function(lambda: self._age_s(log))

    def drop(self, partition: int) -> None:
        """Follow a partition no longer; its numbers are another worker's now."""
        if self._logs.pop(partition, None) is None:
            return
        for gauge in (metrics.LAG, metrics.NEXT_OFFSET, metrics.AGE):
            with contextlib.suppress(KeyError):
                gauge.remove(str(partition))

    @property
    def has_partitions(self) -> bool:
        """Whether this worker has any."""
        return bool(self._logs)

    def faults(self) -> list[str]:
        """Return which partitions stand still, and how far behind each is."""
        return [
            f"partition {log.partition} is stalled: watermark {_shown(log.watermark)}, {_shown(lag_of(log))} records "
            f"behind the end last seen, neither moved nor found there for {self._age_s(log):.1f} s"
            for log in list(self._logs.values())
            if self._age_s(log) > self._stalled_after_s
        ]

    def _age_s(self, log: Followed) -> float:
        return self._clock() - log.moved_s


def lag_of(log: Followed) -> int | None:
    """Return how many records of a partition are not applied; None when its watermark or end is not known."""
    end = log.known_end()
    return None if end is None or log.watermark is None else max(0, end - log.watermark)


def _or_nan(value: int | None) -> float:
    return math.nan if value is None else float(value)


def _shown(value: int | None) -> str:
    return "unknown" if value is None else str(value)
