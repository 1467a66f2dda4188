"""The model of the policy ``sequence``: what of a user's past foretells the next item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import Floats, Integers, read_only
from recommender.statistics import StatisticsView
from schemas.errors import ModelError
from schemas.events import Item

SHRINKAGE = 0.5
"""What the sum of a mean's weights is raised by: one old rating alone says less than many."""
PRIOR_COUNT = 0.3
"""Ratings that every item counts for beside its own in its popularity."""
REACH = 512
"""How many of a user's rated items are looked at, the newest."""


@dataclass(frozen=True, slots=True, eq=False)
class SequenceModel:
    """What was learned from a log of ratings. Numbers are those of float32, as a release keeps them.

    Attributes:
        item_ids: the items of the log, M of them.
        inputs: what a rated item adds to each of K means, shape [K, M, D].
        outputs: x, what the user's vector is multiplied with, shape [M, D].
        bias: b, shape [M].
        rates: decay of each mean for each rating of the user, above 0, shape [K].
        popularity: p, ratings of each item by all users in training, older ones counting less, shape [M].
        counts: all ratings of each item in training, shape [M].
        popularity_weight: a, what the log of popularity counts.

    Raises:
        ModelError: shapes do not fit, a number is not finite or out of range, or an id stands twice.
    """

    item_ids: tuple[str, ...]
    inputs: Floats
    outputs: Floats
    bias: Floats
    rates: Floats
    popularity: Floats
    counts: Integers
    popularity_weight: float
    _rows: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        means, size, dim = len(self.rates), len(self.item_ids), self.outputs.shape[-1]
        shapes = {
            "inputs": (means, size, dim),
            "outputs": (size, dim),
            "bias": (size,),
            "rates": (means,),
            "popularity": (size,),
            "counts": (size,),
        }
        for name, shape in shapes.items():
            given = getattr(self, name)
            if given.shape != shape:
                raise ModelError(f"{name} must have shape {list(shape)}, got {list(given.shape)}")
            with np.errstate(over="ignore"):
                kept = np.ascontiguousarray(given, dtype=np.float32)
            _check_finite(kept, name)
            object.__setattr__(self, name, read_only(kept if name == "inputs" else kept.astype(np.float64)))
        for name, least in (("rates", np.nextafter(0.0, 1.0)), ("popularity", 0.0), ("counts", 0.0)):
            if len(getattr(self, name)) and getattr(self, name).min() < least:
                raise ModelError(f"{name} must not be below {least:g}, got {getattr(self, name).min()}")
        rows = {item_id: row for row, item_id in enumerate(self.item_ids)}
        if len(rows) != size:
            raise ModelError(f"item ids must be distinct, got {size} of which {len(rows)} differ")
        object.__setattr__(self, "_rows", rows)

    @property
    def dim(self) -> int:
        """The size of an item's vectors, D."""
        return int(self.outputs.shape[1])

    def align(self, items: Sequence[Item]) -> "AlignedSequence":
        """Return the model on the rows of ``items``; an item it does not know has zeros."""
        rows = np.fromiter((self._rows.get(item.item_id, -1) for item in items), dtype=np.int64, count=len(items))
        known = np.flatnonzero(rows >= 0)
        columns = {}
        for name in ("outputs", "bias", "popularity", "counts"):
            learned = getattr(self, name)
            columns[name] = np.zeros((len(items), *learned.shape[1:]))
            columns[name][known] = learned[rows[known]]
        return AlignedSequence(self, read_only(rows), *(read_only(column) for column in columns.values()))


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSequence:
    """A model on the rows of a catalogue.

    Attributes:
        model: as learned.
        rows: the model's row of each item, -1 for an item it does not know, shape [N].
        vectors: x, shape [N, D], C-contiguous.
        bias: b, shape [N].
        popularity: p, shape [N].
        counts: ratings in training, shape [N].
    """

    model: SequenceModel
    rows: Integers
    vectors: Floats
    bias: Floats
    popularity: Floats
    counts: Floats

    def prior(self, statistics: StatisticsView) -> Floats:
        """Return what everybody thinks of each item, shape [N]; made once for the statistics.

        b_i + a log q_i,  q_i = (p_i + g_i + 0.3) / sum of the same,  g_i = ratings since training, at least 0

        The popularity at the end of training is moved by every rating since, so a new item gets a place as soon as it
        is rated, and before that the one of an average item that nobody rated.
        """
        return statistics.derived(self._prior)

    def _prior(self, statistics: StatisticsView) -> Floats:
        counts = self.popularity + np.maximum(statistics.counts - self.counts, 0.0) + PRIOR_COUNT
        return np.asarray(self.bias + self.model.popularity_weight * np.log(counts / counts.sum()))


def _check_finite(numbers: NDArray[Any], name: str) -> None:
    if not np.isfinite(numbers).all():
        raise ModelError(f"{name} must be finite, got {int((~np.isfinite(numbers)).sum())} numbers that are not")
