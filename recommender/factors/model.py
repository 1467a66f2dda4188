"""The model of the policy ``linear``: item factors, what content gives a new item, and a Gaussian prior of users."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import Floats, read_only
from recommender.embeddings.layers import Layer
from recommender.factors.content import ContentEncoder
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

FORMAT = 1
METADATA_KEY = "streamrec_policy"
TYPE = "linear"

_ABOUT = {"type": str, "content": dict, "noise": float}


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What is believed of a user before a rating: r - m_i = theta . [1, x_i] + noise, theta ~ N(mean, covariance).

    Attributes:
        mean: shape [D + 1], the intercept first.
        covariance: shape [D + 1, D + 1], symmetric, no eigenvalue below 0.
        noise: variance of a rating's noise, above 0.
        root: L of covariance = L L', shape [D + 1, D + 1].

    Raises:
        ModelError: shapes do not fit, a number is not finite, or the covariance or the noise is none.
    """

    mean: Floats
    covariance: Floats
    noise: float
    root: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = len(self.mean)
        if self.mean.shape != (size,) or self.covariance.shape != (size, size):
            raise ModelError(
                f"a prior must have shapes [E] and [E, E], got {self.mean.shape} and {self.covariance.shape}"
            )
        check_finite(self.mean, "prior.mean")
        check_finite(self.covariance, "prior.covariance")
        if not np.array_equal(self.covariance, self.covariance.T):
            raise ModelError("prior.covariance must be symmetric")
        values, axes = np.linalg.eigh(self.covariance)
        if size and values[0] < -_ROUNDING * max(float(values[-1]), 0.0) - np.finfo(np.float64).tiny:
            raise ModelError(f"prior.covariance must have no eigenvalue below 0, got {values[0]}")
        if not 0.0 < self.noise < float("inf"):
            raise ModelError(f"noise must be above 0 and finite, got {self.noise}")
        object.__setattr__(self, "root", read_only(axes * np.sqrt(np.maximum(values, 0.0))))


_ROUNDING = 1e-4
"""A release keeps float32, whose rounding may move an eigenvalue of 0 below it by so much of the largest one."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFactors:
    """A factor model on the rows of a catalogue.

    Attributes:
        vectors: [1, x_i], shape [N, D + 1], C-contiguous, read-only.
        prior: of users.
    """

    vectors: Floats
    prior: Prior


@dataclass(frozen=True, slots=True, eq=False)
class FactorModel:
    """Item factors, checked once, here.

    Attributes:
        item_ids: the items the model knows, N of them, distinct.
        vectors: their factors, shape [N, D], float64 rounded to float32 (a release loses nothing), read-only.
        content: the columns that a new item's factors come from.
        layer: those columns to factors, F to D.
        prior: of users, on [1, x].

    Raises:
        ModelError: shapes do not fit one another, or a number is not finite.
    """

    item_ids: tuple[str, ...]
    vectors: Floats
    content: ContentEncoder
    layer: Layer
    prior: Prior
    _rows: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        dim = len(self.layer.bias)
        if self.layer.weight.shape != (dim, self.content.size) or self.layer.bias.shape != (dim,):
            raise ModelError(
                f"content must be mapped from {self.content.size} columns to D factors, got a weight of shape "
                f"{self.layer.weight.shape} and a bias of shape {self.layer.bias.shape}"
            )
        if self.vectors.shape != (len(self.item_ids), dim):
            raise ModelError(f"vectors must have shape {(len(self.item_ids), dim)}, got {self.vectors.shape}")
        if self.prior.mean.shape != (dim + 1,):
            raise ModelError(f"the prior must be of {dim + 1} numbers, got {self.prior.mean.shape}")
        check_finite(self.layer.weight, "content.weight")
        check_finite(self.layer.bias, "content.bias")
        vectors = np.ascontiguousarray(self.vectors, dtype=np.float32).astype(np.float64)
        check_finite(vectors, "vectors")
        object.__setattr__(self, "vectors", read_only(vectors))
        object.__setattr__(self, "_rows", rows_by_id(self.item_ids))

    @property
    def type(self) -> str:
        """The name of the policy that computes with it."""
        return TYPE

    @property
    def dim(self) -> int:
        """The number of factors, D."""
        return int(self.vectors.shape[1])

    def describe(self) -> dict[str, Any]:
        """Return what a manifest says of the model."""
        return {"items": len(self.item_ids), "dim": self.dim, "columns": self.content.size, "noise": self.prior.noise}

    def factors_for(self, items: Sequence[Item]) -> Floats:
        """Return the factors of ``items``, shape [n, D].

        An item the model knows keeps the model's factors, whatever is said of it now; any other gets those of its
        content, and zeros when nothing of it is known, so that a user's intercept alone speaks for it.
        """
        factors = np.zeros((len(items), self.dim))
        rows = np.fromiter((self._rows.get(item.item_id, -1) for item in items), dtype=np.int64, count=len(items))
        factors[rows >= 0] = self.vectors[rows[rows >= 0]]
        new = np.flatnonzero(rows < 0)
        if len(new):
            columns = self.content.encode([items[row] for row in new.tolist()])
            described = columns.any(axis=1)
            factors[new[described]] = self.layer.apply(columns[described])
        return factors

    def align(self, items: Sequence[Item]) -> AlignedFactors:
        """Return the model on the rows of ``items``."""
        vectors = np.concatenate((np.ones((len(items), 1)), self.factors_for(items)), axis=1)
        return AlignedFactors(read_only(np.ascontiguousarray(vectors)), self.prior)

    def to_tensors(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the model as named arrays (numbers in float32) and metadata of one key, so that its bytes are fixed.

        Arrays: ``item_ids`` (a JSON list's UTF-8 bytes), ``vectors`` [N, D], ``content.weight`` [D, F],
        ``content.bias`` [D], ``prior.mean`` [D + 1], ``prior.covariance`` [D + 1, D + 1].
        """
        numbers = {
            "vectors": self.vectors,
            "content.weight": self.layer.weight,
            "content.bias": self.layer.bias,
            "prior.mean": self.prior.mean,
            "prior.covariance": self.prior.covariance,
        }
        tensors: dict[str, NDArray[Any]] = {
            name: np.ascontiguousarray(array, dtype=np.float32) for name, array in numbers.items()
        }
        tensors["item_ids"] = write_strings(self.item_ids)
        about = {"format": FORMAT, "type": TYPE, "content": self.content.to_state(), "noise": self.prior.noise}
        return tensors, write_about(METADATA_KEY, about)

    @classmethod
    def from_tensors(cls, tensors: Tensors, metadata: Metadata) -> "FactorModel":
        """Return the model that :meth:`to_tensors` described.

        Raises:
            ModelError: something is missing, of another kind, or does not fit the rest.
        """
        about = read_about(metadata, METADATA_KEY, "policy", FORMAT, _ABOUT)
        if about["type"] != TYPE:
            raise ModelError(f"the policy's type must be {TYPE!r}, got {about['type']!r}")
        prior = Prior(
            read_numbers(tensors, "prior.mean", 1).astype(np.float64),
            read_numbers(tensors, "prior.covariance", 2).astype(np.float64),
            about["noise"],
        )
        layer = Layer(read_numbers(tensors, "content.weight", 2), read_numbers(tensors, "content.bias", 1))
        return cls(
            read_strings(tensors, "item_ids"),
            read_numbers(tensors, "vectors", 2).astype(np.float64),
            ContentEncoder.from_state(about["content"]),
            layer,
            prior,
        )
