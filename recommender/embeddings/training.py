"""What the ways to learn a code have in common: settings, the validation split, losses, the result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recommender.embeddings.layers import Layer

EmbeddingKind = Literal["autoencoder", "pca"]

MIN_ITEMS = 2
"""One item to learn from, one to validate on."""


@dataclass(frozen=True, slots=True)
class PcaSettings:
    """How principal components are learned.

    Attributes:
        dim: the size of a code, D.
        validation: the share of items held out, in (0, 1).
        seed: of the split.

    Raises:
        ValueError: a value is out of its range.
    """

    dim: int = 16
    validation: float = 0.1
    seed: int = 7

    def __post_init__(self) -> None:
        _check_at_least(self.dim, 1, "dim")
        _check_at_least(self.seed, 0, "seed")
        if not 0.0 < self.validation < 1.0:
            raise ValueError(f"validation must be in (0, 1), got {self.validation}")


@dataclass(frozen=True, slots=True)
class AutoencoderSettings:
    """How the autoencoder is trained.

    Attributes:
        dim: the size of a code, D.
        hidden: units of the hidden layer on either side.
        epochs: passes over the training items.
        batch: items a step.
        learning_rate: Adam's.
        validation: the share of items held out, in (0, 1).
        seed: of the split, the weights and the order of batches.
        threads: torch threads while training; at the default sizes more than one do not help.
        device: a torch device; only ``cpu`` promises the same bits again.

    Raises:
        ValueError: a value is out of its range.
    """

    dim: int = 16
    hidden: int = 48
    epochs: int = 50
    batch: int = 64
    learning_rate: float = 1e-3
    validation: float = 0.1
    seed: int = 7
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("dim", "hidden", "epochs", "batch", "threads"):
            _check_at_least(getattr(self, name), 1, name)
        _check_at_least(self.seed, 0, "seed")
        if not 0.0 < self.validation < 1.0:
            raise ValueError(f"validation must be in (0, 1), got {self.validation}")
        if not 0.0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be finite and above 0, got {self.learning_rate}")


@dataclass(frozen=True, slots=True)
class Loss:
    """The mean squared error of reconstruction after one step.

    Attributes:
        step: of the autoencoder the epoch, of PCA the number of components; from 1.
        train: over the items learned from.
        validation: over the items held out.
    """

    step: int
    train: float
    validation: float


OnStep = Callable[[Loss], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedEncoder:
    """What training gives: the encoder to keep, the decoder to check it by, and the losses.

    Attributes:
        kind: what learned it.
        layers: the encoder, F to D.
        decoder: D to F; ReLU between layers, and a sigmoid after the last one of an autoencoder.
        losses: one a step, in order; the last is the result's.
        baseline: validation loss of always answering the training items' column means.
    """

    kind: EmbeddingKind
    layers: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    losses: tuple[Loss, ...]
    baseline: float


def split_rows(n: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to learn from and the rows to validate on, each ascending: a seeded split without overlap.

    round(share n) rows are held out, at least one and at most n - 1.

    Raises:
        ValueError: fewer than two rows.

    >>> [len(rows) for rows in split_rows(1682, 0.1, 7)]
    [1514, 168]
    """
    if n < MIN_ITEMS:
        raise ValueError(f"training needs at least {MIN_ITEMS} items with features, got {n}")
    held_out = min(max(round(share * n), 1), n - 1)
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def baseline_loss(train: NDArray[np.float32], validation: NDArray[np.float32]) -> float:
    """Return the mean squared error, over ``validation``, of always answering the column means of ``train``."""
    mean = train.mean(axis=0, dtype=np.float64)
    return float(np.mean((validation - mean) ** 2))


def _check_at_least(value: int, least: int, name: str) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
