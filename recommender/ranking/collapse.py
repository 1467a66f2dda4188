"""When a policy has collapsed: it shows the same few items to everybody, whatever they like."""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Integers
from recommender.ranking.measures import entropy


@dataclass(frozen=True, slots=True)
class CollapseLimits:
    """What a policy must show at least, so as not to count as collapsed.

    Attributes:
        share: distinct items, as a share of what could differ: the catalogue, or the slots where those are fewer.
        entropy: of what a slot shows, in bits; ten items shown to everybody have 3.3.

    Raises:
        ValueError: a limit is out of its range.
    """

    share: float = 0.02
    entropy: float = 4.3

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"share must be in [0, 1], got {self.share}")
        if not 0.0 <= self.entropy < float("inf"):
            raise ValueError(f"entropy must be in [0, inf), got {self.entropy}")


def collapse_of(lists: Integers, size: int, limits: CollapseLimits = CollapseLimits()) -> str | None:
    """Return in words by which limit lists are a collapsed policy's; None for lists that are none.

    Lists for so few users, or out of so few items, that not even the most different ones reach the limit pass.

    Args:
        lists: rows shown, -1 for none, shape [P, K].
        size: number of items in the catalogue.
        limits: what must be reached.

    >>> collapse_of(np.tile(np.arange(10), (500, 1)), 1000, CollapseLimits())
    'it shows 10 of 1000 items in 5000 slots, 0.010 of what it could; the limit is 0.02'
    """
    shown = lists[lists >= 0]
    could = min(size, len(shown))
    distinct = len(np.unique(shown))
    if distinct < limits.share * could:
        return (
            f"it shows {distinct} of {size} items in {len(shown)} slots, {distinct / could:.3f} of what it could; "
            f"the limit is {limits.share:g}"
        )
    bits = entropy(lists)
    if bits < min(limits.entropy, np.log2(max(could, 1)) / 2):
        return f"what it shows has {bits:.2f} bits of entropy; the limit is {limits.entropy:g}"
    return None
