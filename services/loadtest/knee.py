"""The rate at which a system saturates: doubling until it does, then halving what lies between."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

NEAR = 1.1
"""The search ends when the lowest saturated rate is less than this multiple of the highest that is not."""
MOST_POINTS = 24

Point = TypeVar("Point")


@dataclass(frozen=True, slots=True)
class Knee:
    """What a search found.

    Attributes:
        holds: the highest rate that was kept up with; None where none was.
        saturates: the lowest that was not; None where all were.
    """

    holds: float | None
    saturates: float | None


def find_knee(is_saturated: Callable[[float], bool], start: float, near: float = NEAR) -> Knee:
    """Return between which rates a system saturates.

    Args:
        is_saturated: measures a point.
        start: the first rate; halved as long as it is too much.
        near: how near the two rates shall be.

    Raises:
        ValueError: ``start`` or ``near`` is out of range.

    >>> find_knee(lambda rate: rate > 1000, 100)
    Knee(holds=1000.0, saturates=1050.0)
    """
    if not start > 0 or not near > 1:
        raise ValueError(f"start must be positive and near above 1, got {start} and {near}")
    holds, saturates, rate = None, None, float(start)
    for _ in range(MOST_POINTS):
        if is_saturated(rate):
            saturates = rate
        else:
            holds = rate
        if holds is None:
            rate /= 2
        elif saturates is None:
            rate *= 2
        elif saturates < near * holds:
            break
        else:
            rate = (holds + saturates) / 2
    return Knee(holds, saturates)
