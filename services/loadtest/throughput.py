"""Offered against achieved, and when a point is saturated."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recommender.arrays import Floats

LEAST_SHARE = 0.99
"""Below this share of what was offered a point is saturated, and its latency says only how long it ran."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What was to be done and what was, a second, over the measured part of the schedule.

    Attributes:
        offered: due a second.
        achieved: done a second.
    """

    offered: float
    achieved: float

    @property
    def share(self) -> float:
        """Achieved of offered; 1 where nothing was offered."""
        return self.achieved / self.offered if self.offered else 1.0

    @property
    def is_saturated(self) -> bool:
        """Whether less was done than offered."""
        return self.share < LEAST_SHARE


def throughput(due: Floats, done_s: Floats, begin_s: float, end_s: float, shift_s: float) -> Throughput:
    """Return offered and achieved between two moments, the second counted ``shift_s`` later.

    A system that takes a steady L for everything does between begin + L and end + L what was due between begin and
    end; one that falls behind does what it can, whenever that is counted. So ``shift_s`` is the median latency.

    Args:
        due: when each was due.
        done_s: when each was done; NaN for never. Any order.
        begin_s: start of what counts.
        end_s: its end.
        shift_s: how much later it is counted what was done.

    >>> throughput(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5, 9.9]), 0.0, 4.0, 0.5)
    Throughput(offered=1.0, achieved=0.75)
    """
    seconds = end_s - begin_s
    offered = int(((due >= begin_s) & (due < end_s)).sum())
    achieved = int(((done_s >= begin_s + shift_s) & (done_s < end_s + shift_s)).sum())
    return Throughput(offered / seconds, achieved / seconds) if seconds > 0 else Throughput(0.0, 0.0)


def done_times(looks_s: Floats, counts: npt.NDArray[np.int64], total: int) -> Floats:
    """Return when each of ``total`` events was done, NaN for never, by counts at some moments, even in between.

    >>> done_times(np.array([0.0, 1.0, 2.0]), np.array([0, 2, 3]), 4).tolist()
    [0.5, 1.0, 2.0, nan]
    """
    number = np.arange(1, total + 1)
    later = np.searchsorted(counts, number)
    known = (later > 0) & (later < len(counts))
    at = np.where(known, later, 1).clip(max=max(len(counts) - 1, 0))
    if len(counts) < 2:  # noqa: PLR2004 - there is nothing in between
        return np.full(total, np.nan)
    low, high = counts[at - 1], counts[at]
    part = (number - low) / np.maximum(high - low, 1)
    found = looks_s[at - 1] + part * (looks_s[at] - looks_s[at - 1])
    return np.where(known, found, np.nan)
