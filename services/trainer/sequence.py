"""Train the model of the policy ``sequence``, look whether it collapsed, and write its release."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from rich.progress import Progress

from recommender.arrays import Integers
from recommender.catalogue import CatalogueEntry, LabelledModel, build_catalogue
from recommender.diversity import DiversityLimits, measure_diversity
from recommender.policies import make_policy
from recommender.policies.bandit import BanditPolicy
from recommender.ranking.log import RatingLog, at_the_end
from recommender.ranking.next_item import first_ten
from recommender.ranking.policies import PolicyRanker
from recommender.sequence.model import SEQUENCE, SequenceModel
from recommender.sequence.training import OnEpoch, SequenceLoss, SequenceSettings, TrainedSequence
from schemas.errors import ConfigurationError, DataError, ModelError
from schemas.events import Item, ModelRelease
from streams.models.releases import save_release

ASKED_USERS = 1000
"""Users whose lists tell whether a model collapsed: those whose events are the newest."""

_MIN_EVENTS = 2
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class SequenceRelease:
    """What a training run leaves behind.

    Attributes:
        release: what to publish on ``models``.
        trained: the model with its losses.
        seconds: the time of training, the import of torch included.
        plot: the picture of the losses, None when none was asked for.
    """

    release: ModelRelease
    trained: TrainedSequence
    seconds: float
    plot: Path | None


def train_sequence_release(
    log: RatingLog,
    items: Sequence[Item],
    settings: SequenceSettings | None = None,
    model_dir: str = ".streamrec/models",
    progress: Progress | None = None,
    plot: Path | None = None,
    limits: DiversityLimits | None = None,
) -> SequenceRelease:
    """Train on a log and write a release; nothing is published.

    Args:
        log: the ratings, in time order.
        items: of the log's rows.
        settings: defaults when not given.
        model_dir: where releases are kept, a path or any fsspec URL.
        progress: a running display, which gets one task with epoch and losses.
        plot: where to draw the losses, as PNG.
        limits: what lists of ten must show at least.

    Raises:
        DataError: fewer than two ratings.
        ConfigurationError: torch is not installed.
        ModelError: training diverged, the model collapsed, or the release cannot be written.
    """
    settings = settings or SequenceSettings()
    started = time.perf_counter()
    trained = train_on(log, items, settings, _shown_on(progress, settings.epochs))
    seconds = time.perf_counter() - started
    shown = measure_diversity(lists_of(trained.model, log, items), np.zeros((len(items), 1)))
    fault = (limits or DiversityLimits()).fault_of(shown)
    if fault is not None:
        raise ModelError(f"the model of {SEQUENCE!r} collapsed and is not released: {fault}")
    metrics = _measure(trained, log, seconds) | {"coverage": shown.coverage, "entropy": shown.entropy}
    release = save_release(trained.model, model_dir, SEQUENCE, metrics=metrics, kind="policy")
    if plot is not None:
        from services.trainer.plot import plot_sequence  # noqa: PLC0415 - matplotlib is wanted for pictures only

        plot_sequence(trained, plot, title=f"{release.label}: {len(log):,} ratings, D = {settings.dim}")
    _log.info("sequence.trained", release=release.label, uri=release.uri, **metrics)
    return SequenceRelease(release, trained, seconds, plot)


def train_on(
    log: RatingLog, items: Sequence[Item], settings: SequenceSettings, on_epoch: OnEpoch | None = None
) -> TrainedSequence:
    """Return a model of the log.

    Raises:
        DataError: fewer than two ratings.
        ConfigurationError: torch is not installed.
        ModelError: training diverged.
    """
    if len(log) < _MIN_EVENTS:
        raise DataError(f"training needs at least {_MIN_EVENTS} ratings, got {len(log)}")
    try:
        from recommender.embeddings.sequence import train_sequence  # noqa: PLC0415 - torch only when asked for
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"training sequence needs {error.name}: install streamrec[trainer]") from error
    return train_sequence(log, [item.item_id for item in items], settings, on_epoch)


def lists_of(model: SequenceModel, log: RatingLog, items: Sequence[Item]) -> Integers:
    """Return the ten items that each of the newest users would get, shape [U, 10]."""
    newest_first = log.users[::-1]
    places = np.sort(np.unique(newest_first, return_index=True)[1])
    moments = at_the_end(log, newest_first[places[:ASKED_USERS]])
    policy = make_policy(SEQUENCE)
    assert isinstance(policy, BanditPolicy)
    entries = [CatalogueEntry(item, row) for row, item in enumerate(items)]
    catalogue = build_catalogue(entries, models={SEQUENCE: LabelledModel(f"{SEQUENCE}@candidate", model)})
    scores = PolicyRanker(policy, catalogue).scores(moments)
    return np.array([first_ten(own, past.rows) for own, past in zip(scores, moments.pasts, strict=True)])


def _measure(trained: TrainedSequence, log: RatingLog, seconds: float) -> dict[str, float]:
    metrics = {
        "epochs": float(trained.epochs),
        "train_loss": trained.losses[-1].train,
        "events": float(len(log)),
        "items": float(len(trained.model.item_ids)),
        "dim": float(trained.model.dim),
        "seconds": seconds,
    }
    best = trained.losses[trained.epochs - 1].validation
    if np.isfinite(best):
        metrics |= {"validation_loss": best, "baseline_loss": trained.baseline}
    return metrics


def _shown_on(progress: Progress | None, epochs: int) -> OnEpoch | None:
    if progress is None:
        return None
    task = progress.add_task(SEQUENCE, total=epochs)

    def show(loss: SequenceLoss) -> None:
        losses = f"train {loss.train:.4f}  validation {loss.validation:.4f}"
        progress.update(task, completed=loss.epoch, description=f"{SEQUENCE}: epoch {loss.epoch}/{epochs}  {losses}")

    return show
