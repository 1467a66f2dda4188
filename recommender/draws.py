"""Every random draw of a slate: a counter-based generator keyed by (seed, user_id, request_id, slot).

There is no state to carry, so the same request draws the same numbers in any order, batch or process.

    key             xxh3-128 of "seed/length of user_id/user_id/request_id"
    word(slot, s)   xxh64 of key, slot and stream s (each u64, little-endian)

Streams keep the draws of one slot apart: 0 the coin, 1 the uniform choice, 2 the order of ties, 3 which of several
beliefs is acted on, 4 these beliefs.
"""

from collections.abc import Iterable, Sequence
from struct import Struct

import numpy as np
from xxhash import xxh3_128_digest, xxh64_intdigest

from recommender.arrays import Floats, Hashes

COIN, CHOICE, TIES, BELIEF, NORMALS = 0, 1, 2, 3, 4

_pack_counter = Struct("<QQ").pack
_FLOAT_BITS = 53
_WORD_BITS = 64


class Draws:
    """The draws of one request.

    Args:
        seed: the deployment's seed, any integer.
        user_id: the request's user.
        request_id: the request's id.

    >>> draws = Draws(7, "u", "r")
    >>> draws.uniform(0) == Draws(7, "u", "r").uniform(0), draws.uniform(0) == draws.uniform(1)
    (True, False)
    """

    __slots__ = ("_key", "seed")

    def __init__(self, seed: int, user_id: str, request_id: str) -> None:
        self.seed = seed
        self._key = xxh3_128_digest(_name_request(seed, user_id, request_id))

    def word(self, slot: int, stream: int) -> int:
        """Return 64 random bits for a slot and stream."""
        return xxh64_intdigest(self._key + _pack_counter(slot, stream))

    def uniform(self, slot: int, stream: int = COIN) -> float:
        """Return a float in [0, 1), a multiple of 2^-53."""
        return (self.word(slot, stream) >> (_WORD_BITS - _FLOAT_BITS)) * 2.0**-_FLOAT_BITS

    def integer(self, slot: int, n: int, stream: int = CHOICE) -> int:
        """Return an integer in [0, n); each has probability 1/n to within 2^-64.

        Raises:
            ValueError: if ``n`` is not positive.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        return (self.word(slot, stream) * n) >> _WORD_BITS

    def normals(self, shape: tuple[int, ...], slot: int = 0, stream: int = NORMALS) -> Floats:
        """Return independent standard normals of a shape, by Philox keyed with the slot's and stream's bits.

        Source: Salmon, Moraes, Dror and Shaw 2011, doi:10.1145/2063384.2063405.
        """
        return np.random.Generator(np.random.Philox(key=self.word(slot, stream))).standard_normal(shape)

    def tie_keys(self, hashes: Hashes, slot: int = 0, stream: int = TIES) -> Hashes:
        """Return one key per item, whose ascending order is a random order of the items.

        The key depends on the item's hash alone, not on its position or the other items, and differs between
        items: it is splitmix64's finaliser, a bijection (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).

        Args:
            hashes: hashes of the items, shape [M].
            slot: slot of the slate.
            stream: stream of the slot.
        """
        mixed = hashes ^ np.uint64(self.word(slot, stream))
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


class BatchDraws:
    """The draws of many users' requests whose ids end alike: what :class:`Draws` gives each, for less work.

    Args:
        seed: the deployment's seed, any integer.
        user_ids: the requests' users, B of them.
        request_starts: what their request ids begin with, B of them.

    >>> many = BatchDraws(7, ["u", "v"], ["u/", "v/"])
    >>> many.uniforms([1], "0", slot=0) == [Draws(7, "v", "v/0").uniform(0)]
    array([ True])
    """

    __slots__ = ("_starts",)

    def __init__(self, seed: int, user_ids: Sequence[str], request_starts: Sequence[str]) -> None:
        pairs = zip(user_ids, request_starts, strict=True)
        self._starts = [_name_request(seed, user_id, start) for user_id, start in pairs]

    def uniforms(self, users: Iterable[int], request_end: str, slot: int, stream: int = COIN) -> Floats:
        """Return :meth:`Draws.uniform` for some of the users, by their places."""
        words = np.array(self._words(users, request_end, slot, stream), dtype=np.uint64)
        return np.asarray((words >> np.uint64(_WORD_BITS - _FLOAT_BITS)) * 2.0**-_FLOAT_BITS)

    def integers(
        self, users: Iterable[int], request_end: str, slot: int, ns: Iterable[int], stream: int = CHOICE
    ) -> list[int]:
        """Return :meth:`Draws.integer` for some of the users, by their places; each in [0, n) of its own positive n."""
        words = self._words(users, request_end, slot, stream)
        return [(word * n) >> _WORD_BITS for word, n in zip(words, ns, strict=True)]

    def _words(self, users: Iterable[int], request_end: str, slot: int, stream: int) -> list[int]:
        starts, end, counter = self._starts, request_end.encode(), _pack_counter(slot, stream)
        return [xxh64_intdigest(xxh3_128_digest(starts[user] + end) + counter) for user in users]


def _name_request(seed: int, user_id: str, request_id: str) -> bytes:
    return f"{seed}/{len(user_id)}/{user_id}/{request_id}".encode()
