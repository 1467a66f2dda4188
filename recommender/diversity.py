"""How different the lists are that a policy shows: a collapsed one shows everybody the same few items."""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Floats, Integers


@dataclass(frozen=True, slots=True)
class Diversity:
    """What lists have in common.

    Attributes:
        coverage: share of the catalogue that stands in any list.
        intra_list_distance: mean of 1 - cos of the vectors of two items of a list, over pairs and lists.
        entropy: of the item of a random place of a random list, in bits.
    """

    coverage: float
    intra_list_distance: float
    entropy: float


@dataclass(frozen=True, slots=True)
class DiversityLimits:
    """Below which a policy counts as collapsed.

    Attributes:
        coverage: the least share of the catalogue.
        entropy: the least entropy, in bits; lists that are all the same ten items have 3.3.
        distance: the least intra-list distance; lists of items that are all alike have 0. Where vectors say nothing
            that tells items apart, so has every list, so none is asked for by default.

    Raises:
        ValueError: a limit is out of its range.
    """

    coverage: float = 0.02
    entropy: float = 4.0
    distance: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.coverage <= 1.0:
            raise ValueError(f"the least coverage must be in [0, 1], got {self.coverage}")
        if not 0.0 <= self.entropy < float("inf"):
            raise ValueError(f"the least entropy must be in [0, inf), got {self.entropy}")
        if not 0.0 <= self.distance <= 2.0:  # noqa: PLR2004 - the range of 1 - cos
            raise ValueError(f"the least intra-list distance must be in [0, 2], got {self.distance}")

    def fault_of(self, found: Diversity) -> str | None:
        """Return in words what is below its limit; None when nothing is.

        >>> DiversityLimits().fault_of(Diversity(0.3, 0.5, 3.3))
        'entropy 3.3 bits is below 4'
        """
        faults = []
        if found.coverage < self.coverage:
            faults.append(f"coverage {found.coverage:.3g} is below {self.coverage:g}")
        if found.entropy < self.entropy:
            faults.append(f"entropy {found.entropy:.3g} bits is below {self.entropy:g}")
        if max(found.intra_list_distance, 0.0) < self.distance:
            faults.append(f"intra-list distance {found.intra_list_distance:.3g} is below {self.distance:g}")
        return ", ".join(faults) or None


def measure_diversity(lists: Integers, vectors: Floats) -> Diversity:
    """Return the diversity of lists.

    Args:
        lists: catalogue rows, shape [B, K], K at least 1; -1 where a list is shorter.
        vectors: of the items, shape [N, D], of length one; zero where there is none, which is at distance 1 of all.

    >>> measure_diversity(np.array([[0, 1], [0, 1]]), np.eye(4))
    Diversity(coverage=0.5, intra_list_distance=1.0, entropy=1.0)
    """
    shown = lists[lists >= 0]
    counts = np.bincount(shown, minlength=len(vectors))
    shares = counts[counts > 0] / max(len(shown), 1)
    distances = []
    for each in lists:
        x = vectors[each[each >= 0]]
        n = len(x)
        if n > 1:
            distances.append(1.0 - ((x.sum(axis=0) ** 2).sum() - (x * x).sum()) / (n * (n - 1)))
    return Diversity(
        coverage=float(np.count_nonzero(counts) / max(len(vectors), 1)),
        intra_list_distance=float(np.mean(distances)) if distances else 0.0,
        entropy=float(-(shares * np.log2(shares)).sum()) + 0.0,
    )
