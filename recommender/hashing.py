"""Ids to numbers, without a shared index to assign, lose or cache."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh64_intdigest


def hash_id(text: str) -> int:
    """Return the xxh64 of an id's UTF-8 bytes, in [0, 2^64).

    >>> hash_id("")
    17241709254077376921
    """
    return xxh64_intdigest(text.encode())


def hash_ids(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return the hashes of ids, shape [n], uint64."""
    return np.fromiter((hash_id(text) for text in texts), dtype=np.uint64)


def shard_of(user_id: str, shards: int) -> int:
    """Return the shard a user's state lives in: xxh64(user_id) mod shards.

    >>> shard_of("u", 1)
    0
    """
    return hash_id(user_id) % shards
