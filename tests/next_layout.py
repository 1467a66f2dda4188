"""A ledger as a later release might lay it out: the bytes behind the first 16 come the other way round."""

from recommender.ledger import unpack
from recommender.ledger.layout import PREFIX_BYTES, READERS, WRITTEN

NEXT = bytes((2, 1))


def _turned(value):
    return value[2:PREFIX_BYTES] + value[: PREFIX_BYTES - 1 : -1]


def to_next(value):
    """Return the next layout of bytes in the present one."""
    return NEXT + _turned(value)


def from_next(value):
    """Return the present layout of bytes in the next one."""
    return WRITTEN + _turned(value)


def read_next(value):
    return unpack(from_next(value))


def learn_next(readers=READERS):
    """Let this process read the next layout, too."""
    readers[NEXT] = read_next
