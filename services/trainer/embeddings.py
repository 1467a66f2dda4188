"""Train item embeddings and write their release."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import structlog
from numpy.typing import NDArray
from rich.progress import Progress

from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.model import EmbeddingModel, build_model
from recommender.embeddings.pca import train_pca
from recommender.embeddings.training import (
    MIN_ITEMS,
    AutoencoderSettings,
    EmbeddingKind,
    Loss,
    OnStep,
    PcaSettings,
    TrainedEncoder,
)
from schemas.errors import ConfigurationError, DataError
from schemas.events import Item, ModelRelease
from streams.models.releases import manifest_uri, save_release

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRelease:
    """What a training run leaves behind.

    Attributes:
        release: what to publish on ``models``.
        manifest_uri: where its manifest is.
        plot: the picture of the losses, None when none was asked for.
        model: the model as written.
        trained: the encoder with its losses.
        seconds: the time of training, the import of torch included.
    """

    release: ModelRelease
    manifest_uri: str
    plot: Path | None
    model: EmbeddingModel
    trained: TrainedEncoder
    seconds: float


def train_embeddings(
    items: Sequence[Item],
    kind: EmbeddingKind = "autoencoder",
    settings: AutoencoderSettings | PcaSettings | None = None,
    model_dir: str = ".streamrec/models",
    progress: Progress | None = None,
    plot: Path | None = None,
    *,
    name: str = "items",
    version: str | None = None,
) -> TrainedRelease:
    """Train on the items' genres and years and write a release; nothing is published.

    Args:
        items: the catalogue; those without genre and year take no part.
        kind: what learns the code.
        settings: of that kind; its defaults when not given.
        model_dir: where releases are kept, a path or any fsspec URL.
        progress: a running display, which gets one task with step and losses.
        plot: where to draw the losses, as PNG.
        name: of the release on ``models``.
        version: of the release; by default the time and the sum.

    Raises:
        DataError: fewer than two items have a genre or a year.
        ConfigurationError: the autoencoder is asked for and torch is not installed.
        ModelError: training diverged, or the release cannot be written.
        ValueError: the kind is unknown, or the settings are another kind's.
    """
    described = [item for item in items if item.genres or item.year is not None]
    if len(described) < MIN_ITEMS:
        raise DataError(
            f"training needs at least {MIN_ITEMS} items with a genre or a year, got {len(described)} of {len(items)}"
        )
    features = FeatureEncoder.fit(described)
    matrix = features.encode(described)
    started = time.perf_counter()
    trained = _train(matrix, kind, settings, progress)
    seconds = time.perf_counter() - started
    model = build_model(described, features, trained)
    last = trained.losses[-1]
    metrics = {
        "train_loss": last.train,
        "validation_loss": last.validation,
        "baseline_loss": trained.baseline,
        "steps": last.step,
        "items": len(model.item_ids),
        "features": features.size,
        "dim": model.dim,
        "seconds": seconds,
    }
    release = save_release(model, model_dir, name, version, metrics)
    if plot is not None:
        from services.trainer.plot import plot_losses  # noqa: PLC0415 - matplotlib is wanted for pictures only

        plot_losses(trained, plot, title=f"{release.label}: {kind}, {len(model.item_ids):,} items, D = {model.dim}")
    _log.info("embeddings.trained", release=release.label, uri=release.uri, **metrics)
    return TrainedRelease(release, manifest_uri(release), plot, model, trained, seconds)


def _train(
    matrix: NDArray[np.float32],
    kind: EmbeddingKind,
    settings: AutoencoderSettings | PcaSettings | None,
    progress: Progress | None,
) -> TrainedEncoder:
    if kind == "autoencoder" and (settings is None or isinstance(settings, AutoencoderSettings)):
        settings = settings or AutoencoderSettings()
        return _train_autoencoder(matrix, settings, _shown_on(progress, kind, "epoch", settings.epochs))
    if kind == "pca" and (settings is None or isinstance(settings, PcaSettings)):
        settings = settings or PcaSettings()
        return train_pca(matrix, settings, _shown_on(progress, kind, "component", settings.dim))
    if kind not in get_args(EmbeddingKind):
        raise ValueError(f"kind must be one of {', '.join(get_args(EmbeddingKind))}, got {kind!r}")
    raise ValueError(f"settings must be those of {kind}, got {type(settings).__name__}")


def _train_autoencoder(
    matrix: NDArray[np.float32], settings: AutoencoderSettings, on_step: OnStep | None
) -> TrainedEncoder:
    try:
        from recommender.embeddings.autoencoder import train_autoencoder  # noqa: PLC0415 - torch only when asked for
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"training an autoencoder needs {error.name}: install streamrec[trainer], or train pca"
        ) from error
    return train_autoencoder(matrix, settings, on_step)


def _shown_on(progress: Progress | None, kind: str, unit: str, steps: int) -> OnStep | None:
    if progress is None:
        return None
    task = progress.add_task(kind, total=steps)

    def show(loss: Loss) -> None:
        losses = f"train {loss.train:.5f}  validation {loss.validation:.5f}"
        progress.update(task, completed=loss.step, description=f"{kind}: {unit} {loss.step}/{steps}  {losses}")

    return show
