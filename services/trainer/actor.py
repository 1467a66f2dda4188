"""Train an actor-critic policy, look whether it collapsed, and write its release; stop and go on where it stood."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from rich.progress import Progress

from recommender.arrays import Floats, Integers
from recommender.diversity import Diversity, DiversityLimits, measure_diversity
from recommender.factors.embedding import embed_log
from recommender.factors.training import FactorSettings
from recommender.ranking.baselines import MostPopular
from recommender.ranking.log import RatingLog, at_the_end
from recommender.ranking.next_item import first_ten
from recommender.rl.model import ActorModel
from recommender.rl.ranker import ActorRanker
from recommender.rl.training import ActorSettings, ActorStep, OnStep, TrainedActor
from schemas.errors import ConfigurationError, DataError, ModelError
from schemas.events import Item, ModelRelease
from services.trainer.frame_cache import cached_frames
from streams.models.releases import save_release

ASKED_USERS = 1000
"""Users whose lists tell whether a model collapsed: those whose events are the newest."""
_SHOWN_SCALARS = ("loss/clone", "loss/policy", "loss/value")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a training leaves beside its release; None for nothing.

    Attributes:
        plot: a PNG of losses and values.
        scalars: a folder for TensorBoard.
        checkpoint: a file where to go on; one that is there is gone on from.
        frames: a folder where frames are kept by what they are made of; those that are there are used.
    """

    plot: Path | None = None
    scalars: Path | None = None
    checkpoint: Path | None = None
    frames: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ActorRelease:
    """What a training run leaves behind.

    Attributes:
        release: what to publish on ``models``.
        trained: the model with its trace.
        diversity: of lists of ten.
        seconds: the time of training.
    """

    release: ModelRelease
    trained: TrainedActor
    diversity: Diversity
    seconds: float


def train_actor_release(
    name: str,
    log: RatingLog,
    items: Sequence[Item],
    scale: tuple[float, float],
    settings: ActorSettings | None = None,
    vectors: Floats | None = None,
    model_dir: str = ".streamrec/models",
    progress: Progress | None = None,
    outputs: Outputs | None = None,
    limits: DiversityLimits | None = None,
) -> ActorRelease:
    """Train on a log and write a release; nothing is published.

    Args:
        name: of the policy, one of :data:`~recommender.rl.model.ACTORS`.
        log: the ratings, in time order.
        items: of the log's rows.
        scale: least and highest rating there can be.
        settings: defaults when not given.
        vectors: where the item vectors begin, shape [N, D]; by default factors of the log, of size 128.
        model_dir: where releases are kept, a path or any fsspec URL.
        progress: a running display, which gets one task.
        outputs: what else to write.
        limits: what lists of ten must show at least.

    Raises:
        DataError: too few users have enough ratings, or nothing is known of the items.
        ConfigurationError: torch or tensorboardX is not installed, or the checkpoint is of another training.
        ModelError: training diverged, the model collapsed, or the release cannot be written.
    """
    settings, outputs = settings or ActorSettings(), outputs or Outputs()
    started = time.perf_counter()
    if vectors is None:
        vectors = first_vectors(log, items)
    trained = _train(name, log, items, vectors, scale, settings, outputs, _shown_on(progress, name, settings))
    seconds = time.perf_counter() - started
    shown = measure_diversity(lists_of(trained.model, log, items), _unit(vectors))
    fault = (limits or DiversityLimits()).fault_of(shown)
    if fault is not None:
        raise ModelError(f"the model of {name!r} collapsed and is not released: {fault}")
    metrics = {
        "ndcg": trained.ndcg,
        "cloned_ndcg": trained.cloned_ndcg,
        "step": float(trained.best),
        "frames": float(trained.frames[0]),
        "items": float(len(trained.model.item_ids)),
        "dim": float(trained.model.dim),
        "coverage": shown.coverage,
        "entropy": shown.entropy,
        "intra_list_distance": shown.intra_list_distance,
        "seconds": seconds,
    }
    release = save_release(trained.model, model_dir, name, metrics=metrics, kind="policy")
    if outputs.plot is not None:
        from services.trainer.plot_actor import plot_trace  # noqa: PLC0415 - matplotlib is wanted for pictures only

        plot_trace(trained, outputs.plot, title=f"{release.label}: {trained.frames[0]:,} frames")
    _log.info("actor.trained", release=release.label, uri=release.uri, **metrics)
    return ActorRelease(release, trained, shown, seconds)


def first_vectors(log: RatingLog, items: Sequence[Item]) -> Floats:
    """Return factors of the log as item vectors, shape [N, 128].

    Raises:
        DataError: no item has a genre or a year, or there is no rating.
    """
    try:
        return embed_log(log, items, FactorSettings())
    except ValueError as error:
        raise DataError(str(error)) from error


def lists_of(model: ActorModel, log: RatingLog, items: Sequence[Item]) -> Integers:
    """Return the ten items that each of the newest users with enough ratings would get, shape [U, 10]."""
    is_long = np.bincount(log.users, minlength=len(log.user_ids)) >= model.least_events
    newest_first = log.users[::-1][is_long[log.users[::-1]]]
    places = np.sort(np.unique(newest_first, return_index=True)[1])
    moments = at_the_end(log, newest_first[places[:ASKED_USERS]])
    scores = ActorRanker(model.align(items), MostPopular(), model.rerank).scores(moments)
    return np.array([first_ten(own, past.rows) for own, past in zip(scores, moments.pasts, strict=True)])


def _train(
    name: str,
    log: RatingLog,
    items: Sequence[Item],
    vectors: Floats,
    scale: tuple[float, float],
    settings: ActorSettings,
    outputs: Outputs,
    on_step: OnStep,
) -> TrainedActor:
    try:
        from recommender.rl.loop import LEARNERS, train_actor  # noqa: PLC0415 - torch only when asked for
        from services.trainer.checkpoints import read_checkpoint, write_checkpoint  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"training {name} needs {error.name}: install streamrec[trainer]") from error
    if name not in LEARNERS:
        raise ConfigurationError(f"the policy must be one of {', '.join(LEARNERS)}, got {name!r}")
    if not len(log):
        raise DataError("training needs ratings, got none")
    file = outputs.checkpoint
    resume = read_checkpoint(file) if file is not None and file.exists() else None
    keep = None if file is None else lambda checkpoint: write_checkpoint(checkpoint, file)
    writer = _writer(outputs.scalars)

    def told(step: ActorStep) -> None:
        on_step(step)
        if writer is not None:
            _write(writer, step)

    try:
        item_ids = [item.item_id for item in items]
        folder = outputs.frames
        frames = None if folder is None else cached_frames(log, settings.frame_size, scale, settings.least, folder)
        return train_actor(name, log, item_ids, vectors, scale, settings, told, resume, keep, frames)
    except ValueError as error:
        kind = ConfigurationError if "checkpoint" in str(error) else DataError
        raise kind(str(error)) from error
    finally:
        if writer is not None:
            writer.close()


def _writer(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from tensorboardX import SummaryWriter  # noqa: PLC0415 - only when asked for
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"scalars need {error.name}: install streamrec[tensorboard]") from error
    return SummaryWriter(str(folder))


def _write(writer: Any, step: ActorStep) -> None:
    for tag, value in step.scalars.items():
        writer.add_scalar(f"{step.phase}/{tag}", value, step.step)
    if step.ndcg is not None:
        writer.add_scalar("held_out/ndcg", step.ndcg, step.step)


def _shown_on(progress: Progress | None, name: str, settings: ActorSettings) -> OnStep:
    total = settings.clone_steps + settings.steps
    task = None if progress is None else progress.add_task(name, total=total)
    looked = "not yet"

    def show(step: ActorStep) -> None:
        nonlocal looked
        looked = looked if step.ndcg is None else f"{step.ndcg:.4f}"
        if progress is not None and task is not None:
            losses = "  ".join(f"{tag} {step.scalars[tag]:.3f}" for tag in _SHOWN_SCALARS if tag in step.scalars)
            said = f"{name}: {step.phase} {step.step}/{total}  {losses}  held-out NDCG@10 {looked}"
            progress.update(task, completed=step.step, description=said)

    return show


def _unit(vectors: Floats) -> Floats:
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(vectors, lengths, out=np.zeros(vectors.shape), where=lengths > 0.0))
