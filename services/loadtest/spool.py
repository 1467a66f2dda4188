"""Records to send and when they are due, in two files that several processes read without holding them in memory."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from kafka.partitioner import murmur2

from recommender.arrays import Floats

RATING, REQUEST, ITEM = 0, 1, 2
"""What a row is."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Records in the order in which they are due.

    Attributes:
        due: seconds from the start of the run.
        kinds: :data:`RATING`, :data:`REQUEST` or :data:`ITEM`.
        numbers: number of each among those of its kind.
        probed: whether a request follows that waits for it.
        keys: of the records.
        values: of the records.
    """

    due: Floats
    kinds: npt.NDArray[np.uint8]
    numbers: npt.NDArray[np.int64]
    probed: npt.NDArray[np.bool_]
    keys: Sequence[bytes]
    values: Sequence[bytes]


def write_spool(path: Path, rows: Rows) -> None:
    """Write rows to ``path``, which ends in ``.bin``, and to an index beside it."""
    with path.open("wb") as file:
        for key, value in zip(rows.keys, rows.values, strict=True):
            file.write(key)
            file.write(value)
    lengths = np.array([(len(key), len(value)) for key, value in zip(rows.keys, rows.values, strict=True)], np.int64)
    np.savez(
        path.with_suffix(".npz"),
        due=rows.due,
        kinds=rows.kinds,
        numbers=rows.numbers,
        probed=rows.probed,
        ends=np.cumsum(lengths.reshape(-1)).reshape(-1, 2),
    )


class Spool:
    """Rows as :func:`write_spool` left them."""

    def __init__(self, path: Path) -> None:
        with np.load(path.with_suffix(".npz")) as index:
            self.due: Floats = index["due"]
            self.kinds: npt.NDArray[np.uint8] = index["kinds"]
            self.numbers: npt.NDArray[np.int64] = index["numbers"]
            self.probed: npt.NDArray[np.bool_] = index["probed"]
            self._ends = index["ends"]
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if len(self.due) else b""

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.due)

    def record(self, row: int) -> tuple[bytes, bytes]:
        """Return key and value of a row."""
        begin = int(self._ends[row - 1, 1]) if row else 0
        middle, end = self._ends[row].tolist()
        return bytes(self._bytes[begin:middle]), bytes(self._bytes[middle:end])

    def share(self, number: int, of: int, partitions: int) -> list[int]:
        """Return the rows that belong to one of several senders: each partition has one sender."""
        if of == 1:
            return list(range(len(self)))
        places = ((murmur2(self.record(row)[0]) & 0x7FFFFFFF) % partitions for row in range(len(self)))
        return [row for row, partition in enumerate(places) if partition % of == number]
