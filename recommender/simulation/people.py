"""Who rated what, and users side by side in padded arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recommender.arrays import Flags, Floats, Hashes, Integers, read_only
from recommender.catalogue import Catalogue
from recommender.statistics import StatisticsView

BLOCK_CELLS = 1 << 14
"""Users are taken together until they have so many candidates, padding included: what stays in a core's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """The users of an experiment and what they rated.

    Attributes:
        catalogue: the items; a user's candidates are in its order.
        user_ids: U of them.
        starts: where each user's candidates begin in ``rows``, and the end, shape [U + 1].
        rows: catalogue rows of the candidates, ascending and distinct within a user, shape [R].
        ratings: the users' ratings of them in units of 1/10000, shape [R].
        statistics: of all ratings known, those of users who take no part included.

    Raises:
        ValueError: shapes do not fit, a user has no candidates, or their order is another.
    """

    catalogue: Catalogue
    user_ids: tuple[str, ...]
    starts: Integers
    rows: Integers
    ratings: Integers
    statistics: StatisticsView

    def __post_init__(self) -> None:
        if self.starts.shape != (len(self.user_ids) + 1,) or (np.diff(self.starts) < 1).any():
            raise ValueError(f"starts must ascend from 0 for {len(self.user_ids)} users, got {self.starts}")
        if self.rows.shape != self.ratings.shape or self.rows.shape != (self.starts[-1],):
            raise ValueError(f"rows and ratings must have shape [{self.starts[-1]}], got {self.rows.shape}")
        begins = np.zeros(len(self.rows), dtype=np.bool_)
        begins[self.starts[:-1]] = True
        if not (begins[1:] | (np.diff(self.rows) > 0)).all():
            raise ValueError("a user's rows must be distinct and ascending")
        for name in ("starts", "rows", "ratings"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def sizes(self) -> Integers:
        """Number of candidates of each user, shape [U]."""
        return np.diff(self.starts)


@dataclass(frozen=True, eq=False)
class Block:
    """Some users side by side: C the largest number of candidates among B users, the rest of a row is padding.

    What others said of an item is what all ratings known say, less the user's own.

    Attributes:
        people: where they come from.
        users: their places in ``people``, shape [B].
        is_candidate: False in the padding, shape [B, C].
        rows: catalogue rows, 0 in the padding, shape [B, C].
        ratings: in units of 1/10000, shape [B, C].
        vectors: of the candidates, zero in the padding, shape [D, B, C].
        others_counts: ratings of each candidate by others, shape [B, C].
        others_sums: their sums in units of 1/10000, shape [B, C].
        others_total_count: ratings of all items by others, shape [B].
        others_total_sum: their sums, shape [B].
    """

    people: People
    users: Integers
    is_candidate: Flags
    rows: Integers
    ratings: Integers
    vectors: Floats
    others_counts: Integers
    others_sums: Integers
    others_total_count: Integers
    others_total_sum: Integers

    @property
    def hashes(self) -> Hashes:
        """Item hashes of the candidates, shape [B, C]."""
        return np.asarray(self.people.catalogue.hashes[self.rows])

    @cached_property
    def by_hash(self) -> Integers:
        """Columns in the order of the item hashes, which is a ledger's; the padding last; shape [B, C]."""
        return np.lexsort((self.hashes, ~self.is_candidate))


def blocks_of(people: People, cells: int = BLOCK_CELLS) -> Iterator[Block]:
    """Yield all users in blocks of at most ``cells`` cells (one user, if that user alone has more).

    Users of about as many candidates share a block, so that little of it is padding.
    """
    sizes = people.sizes
    by_size = np.argsort(sizes, kind="stable")
    first = 0
    while first < len(by_size):
        last = first + 1
        while last < len(by_size) and (last + 1 - first) * sizes[by_size[last]] <= cells:
            last += 1
        yield make_block(people, by_size[first:last])
        first = last


def make_block(people: People, users: Integers) -> Block:
    """Return the block of some users, by their places in ``people``, shape [B]."""
    sizes, statistics = people.sizes[users], people.statistics
    columns = np.arange(sizes.max(initial=0))
    is_candidate = columns < sizes[:, np.newaxis]
    places = np.where(is_candidate, people.starts[users][:, np.newaxis] + columns, 0)
    rows = np.where(is_candidate, people.rows[places], 0)
    ratings = np.where(is_candidate, people.ratings[places], 0)
    vectors = np.where(is_candidate[..., np.newaxis], people.catalogue.vectors[rows], 0.0)
    return Block(
        people=people,
        users=users,
        is_candidate=read_only(is_candidate),
        rows=read_only(rows),
        ratings=read_only(ratings),
        vectors=read_only(np.ascontiguousarray(vectors.transpose(2, 0, 1))),
        others_counts=read_only(statistics.counts[rows] - is_candidate),
        others_sums=read_only(statistics.sums[rows] - ratings),
        others_total_count=read_only(statistics.total_count - sizes),
        others_total_sum=read_only(statistics.total_sum - ratings.sum(axis=1)),
    )
