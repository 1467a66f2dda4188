"""The array types of the core, and how values keep theirs from being written."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Records = NDArray[np.void]

_Scalar = TypeVar("_Scalar", bound=np.generic)


def read_only(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return a view of ``array`` that refuses writes; the array itself stays as it is.

    >>> read_only(np.zeros(2)).flags.writeable
    False
    """
    view = array.view()
    view.flags.writeable = False
    return view


def join_records(parts: Sequence[Records], dtype: np.dtype[np.void]) -> Records:
    """Return records one after the other; numpy's own concatenation looks at the fields of every part anew."""
    return np.frombuffer(b"".join([part.tobytes() for part in parts]), dtype)
