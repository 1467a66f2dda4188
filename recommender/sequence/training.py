"""How the model of the policy ``sequence`` is trained, and what a run says; without torch."""

from collections.abc import Callable
from dataclasses import dataclass

from recommender.sequence.model import SequenceModel


@dataclass(frozen=True, slots=True)
class SequenceSettings:
    """How the model is trained.

    Attributes:
        dim: size of an item's vectors, D, a multiple of ``parts``.
        parts: models of dim/parts that learn side by side, from other weights and with other dropout; what they say is
            averaged, which errs less than one model of any size.
        half_lives: of the means, to begin with, in ratings of the user; one mean each, K.
        epochs: passes over the events, at most.
        patience: epochs without a better validation loss after which training ends.
        batch: events a step, about.
        learning_rate: Adam's.
        weight_decay: of AdamW.
        input_dropout: chance of a rated item to be left out of a user's means.
        theta_dropout: chance of a coordinate of the user's vector to be left out.
        averaging: of the weights over steps, exponential: what a step keeps of the average, in [0, 1).
        popularity_half_life: of an item's popularity, in ratings of all users.
        validation: share of the events, the newest, that tells when to stop; 0 for exactly ``epochs``. The model
            is then trained anew on all events.
        seed: of the weights, the dropout and the order of batches.
        threads: torch threads while training.

    Raises:
        ValueError: a value is out of its range.
    """

    dim: int = 256
    parts: int = 2
    half_lives: tuple[float, ...] = (1.0, 3.5, 12.0, 100.0)
    epochs: int = 14
    patience: int = 2
    batch: int = 1700
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    input_dropout: float = 0.5
    theta_dropout: float = 0.5
    averaging: float = 0.98
    popularity_half_life: float = 4000.0
    validation: float = 0.1
    seed: int = 7
    threads: int = 2

    def __post_init__(self) -> None:
        self._check_sizes()
        if not self.half_lives or not all(0.0 < each < float("inf") for each in self.half_lives):
            raise ValueError(f"half_lives must be positive and finite, at least one, got {self.half_lives}")
        for name in ("learning_rate", "popularity_half_life"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name in ("input_dropout", "theta_dropout", "averaging", "validation"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("weight_decay", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")

    def _check_sizes(self) -> None:
        for name in ("dim", "parts", "epochs", "patience", "batch", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.dim % self.parts:
            raise ValueError(f"dim must be a multiple of parts, {self.parts}, got {self.dim}")


@dataclass(frozen=True, slots=True)
class SequenceLoss:
    """The mean of -log P(next item) after an epoch, in nats.

    Attributes:
        epoch: from 1.
        train: over the events learned from, with dropout.
        validation: over the events held out, with the averaged weights; nan when there are none.
    """

    epoch: int
    train: float
    validation: float


OnEpoch = Callable[[SequenceLoss], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSequence:
    """What training gives.

    Attributes:
        model: trained on all events.
        losses: of the run that told when to stop.
        epochs: how many the model was trained for.
        baseline: validation loss of popularity alone; nan without validation.
    """

    model: SequenceModel
    losses: tuple[SequenceLoss, ...]
    epochs: int
    baseline: float
