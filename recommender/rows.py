"""The rows of a catalogue but a few, without an array of all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.arrays import Flags, Integers


@dataclass(frozen=True, slots=True, eq=False)
class AllBut:
    """The rows 0..size-1, ascending, but ``left_out``; it serves where an array of rows is read.

    Attributes:
        size: of the catalogue, N.
        left_out: ascending, distinct, shape [E].

    >>> rows = AllBut(5, np.array([1, 3]))
    >>> len(rows), rows[np.array([0, 1, 2])].tolist(), np.asarray(rows).tolist()
    (3, [0, 2, 4], [0, 2, 4])
    """

    size: int
    left_out: Integers

    def __len__(self) -> int:
        return self.size - len(self.left_out)

    def __getitem__(self, positions: Integers) -> Integers:
        """Return the rows at positions in 0..len-1, shape as given."""
        before = self.left_out - np.arange(len(self.left_out))
        return np.asarray(positions + np.searchsorted(before, positions, side="right"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        kept = np.ones(self.size, dtype=np.bool_)
        kept[self.left_out] = False
        return np.flatnonzero(kept).astype(dtype or np.int64, copy=False)

    def leaves_out(self, rows: Integers) -> Flags:
        """Return which of some rows are left out, shape as given."""
        if not len(self.left_out):
            return np.zeros(len(rows), dtype=np.bool_)
        places = np.minimum(np.searchsorted(self.left_out, rows), len(self.left_out) - 1)
        return np.asarray(self.left_out[places] == rows)

    def positions_of(self, rows: Integers) -> Integers:
        """Return where rows stand, in the order given; none of them is left out.

        >>> AllBut(5, np.array([1, 3])).positions_of(np.array([4, 0])).tolist()
        [2, 0]
        """
        return np.asarray(rows - np.searchsorted(self.left_out, rows))
