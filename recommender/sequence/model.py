"""The model of the policy ``sequence``: what of a user's past foretells the next item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import Floats, Integers, read_only
from recommender.statistics import StatisticsView
from recommender.tensors import (
    Metadata,
    Tensors,
    check_finite,
    read_about,
    read_numbers,
    read_strings,
    rows_by_id,
    write_about,
    write_strings,
)
from schemas.errors import ModelError
from schemas.events import Item

SEQUENCE = "sequence"
"""Name of the policy, and type of its model."""
SHRINKAGE = 1.0
"""What the sum of a mean's weights is raised by before its root is taken."""
PRIOR_COUNT = 0.3
"""Ratings that every item counts for beside its own in its popularity."""
STAGES = 10
"""Parts of a user's way: before the first rating, the next two, the next four, and so on."""
REACH = 512
"""How many of a user's rated items are looked at, the newest."""

FORMAT = 1
METADATA_KEY = "streamrec_policy"
_NUMBERS = {"inputs": 3, "stages": 2, "outputs": 2, "bias": 1, "rates": 1, "popularity": 1, "counts": 1}


@dataclass(frozen=True, slots=True, eq=False)
class SequenceModel:
    """What was learned from a log of ratings. Numbers are those of float32, as a release keeps them.

    Attributes:
        item_ids: the items of the log, M of them.
        inputs: what a rated item adds to each of K means, shape [K, M, D].
        stages: what the user's vector starts from, by how far the user has come, shape [10, D].
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
    stages: Floats
    outputs: Floats
    bias: Floats
    rates: Floats
    popularity: Floats
    counts: Floats
    popularity_weight: float
    _rows: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        means, size, dim = len(self.rates), len(self.item_ids), self.outputs.shape[-1]
        shapes = {
            "inputs": (means, size, dim),
            "stages": (STAGES, dim),
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
            check_finite(kept, name)
            object.__setattr__(self, name, read_only(kept if name == "inputs" else kept.astype(np.float64)))
        for name, least in (("rates", np.nextafter(0.0, 1.0)), ("popularity", 0.0), ("counts", 0.0)):
            if len(getattr(self, name)) and getattr(self, name).min() < least:
                raise ModelError(f"{name} must not be below {least:g}, got {getattr(self, name).min()}")
        if not abs(self.popularity_weight) < float("inf"):
            raise ModelError(f"popularity_weight must be finite, got {self.popularity_weight}")
        object.__setattr__(self, "_rows", rows_by_id(self.item_ids))

    @property
    def type(self) -> str:
        """The name of the policy that computes with it."""
        return SEQUENCE

    @property
    def dim(self) -> int:
        """The size of an item's vectors, D."""
        return int(self.outputs.shape[1])

    def describe(self) -> dict[str, Any]:
        """Return what a manifest says of the model."""
        half_lives = np.log(2.0) / self.rates
        return {"type": SEQUENCE, "items": len(self.item_ids), "dim": self.dim, "half_lives": half_lives.tolist()}

    def to_tensors(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the model as named arrays, numbers in float32, and metadata of one key: always the same bytes."""
        tensors: dict[str, NDArray[Any]] = {"item_ids": write_strings(self.item_ids)}
        for name in _NUMBERS:
            tensors[name] = np.array(getattr(self, name), dtype=np.float32, order="C")
        about = {"format": FORMAT, "type": SEQUENCE, "popularity_weight": self.popularity_weight}
        return tensors, write_about(METADATA_KEY, about)

    @classmethod
    def from_tensors(cls, tensors: Tensors, metadata: Metadata) -> "SequenceModel":
        """Return the model that :meth:`to_tensors` described.

        Raises:
            ModelError: something is missing, of another kind, or does not fit the rest.
        """
        about = read_about(metadata, METADATA_KEY, "policy", FORMAT, {"type": str, "popularity_weight": float})
        if about["type"] != SEQUENCE:
            raise ModelError(f"the policy's type must be {SEQUENCE!r}, got {about['type']!r}")
        numbers = {name: read_numbers(tensors, name, ndim).astype(np.float64) for name, ndim in _NUMBERS.items()}
        return cls(read_strings(tensors, "item_ids"), **numbers, popularity_weight=about["popularity_weight"])

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


def stage_of(t: int) -> int:
    """Return the stage of a user with t ratings: floor(log2(t + 1)), at most 9.

    >>> [stage_of(t) for t in (0, 1, 2, 3, 6, 7, 100_000)]
    [0, 1, 1, 2, 2, 3, 9]
    """
    return min((t + 1).bit_length(), STAGES) - 1
