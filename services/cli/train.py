"""``streamrec train``."""

from pathlib import Path
from typing import Any

from rich.progress import Progress, TextColumn

from recommender.diversity import DiversityLimits
from recommender.embeddings.training import AutoencoderSettings, EmbeddingKind, PcaSettings
from recommender.sequence.training import SequenceSettings
from schemas.errors import ConfigurationError
from schemas.events import Item, ModelRelease, RatingEvent
from services.admin.catalogue import read_catalogue
from services.admin.ratings import read_ratings
from services.admin.releases import publish_release
from services.cli.flags import SettingsArgument
from services.cli.show import err, note, say
from services.cli.sources import BadLines, ColumnsArgument, load_items, load_ratings
from services.lab.datasets import DATASETS
from services.lab.next_item import gather_log
from services.trainer.embeddings import train_embeddings
from services.trainer.sequence import train_sequence_release
from streams.settings import Settings


def autoencoder(
    *,
    data: str | None = None,
    dim: int = AutoencoderSettings().dim,
    epochs: int = AutoencoderSettings().epochs,
    seed: int = AutoencoderSettings().seed,
    plot: Path | None = None,
    publish: bool = True,
    settings: SettingsArgument,
) -> None:
    """Train item embeddings on genres and years with an autoencoder, and make them the active release.

    Args:
        data: movielens-100k, synthetic, or a file; the catalogue on the items topic by default.
        dim: size of the embeddings.
        epochs: passes over the items.
        seed: of every random number in the training.
        plot: draw the losses to this PNG file.
        publish: make the release the active one.
        settings: from flags, environment and files.
    """
    _train(
        "autoencoder", _checked(AutoencoderSettings, dim=dim, epochs=epochs, seed=seed), data, plot, publish, settings
    )


def pca(
    *,
    data: str | None = None,
    dim: int = PcaSettings().dim,
    plot: Path | None = None,
    publish: bool = True,
    settings: SettingsArgument,
) -> None:
    """Make item embeddings of genres and years by principal components, and make them the active release.

    Args:
        data: movielens-100k, synthetic, or a file; the catalogue on the items topic by default.
        dim: size of the embeddings.
        plot: draw the losses to this PNG file.
        publish: make the release the active one.
        settings: from flags, environment and files.
    """
    _train("pca", _checked(PcaSettings, dim=dim), data, plot, publish, settings)


def sequence(
    *,
    data: str | None = None,
    items: str | None = None,
    columns: ColumnsArgument = None,
    dim: int = SequenceSettings().dim,
    epochs: int = SequenceSettings().epochs,
    seed: int = SequenceSettings().seed,
    plot: Path | None = None,
    publish: bool = True,
    settings: SettingsArgument,
) -> None:
    """Train the model of the policy sequence on who rated what when, and make it the active release.

    A model that shows the same few items to everybody is named, and not released.

    Args:
        data: movielens-100k, synthetic, or a file of ratings; the log of ratings on the bus by default.
        items: what else is in the catalogue, a file or data set; those of the data set by default.
        columns: what the file of ratings calls a column.
        dim: size of the model's vectors.
        epochs: passes over the ratings, at most; the newest tenth tells when to stop.
        seed: of every random number in the training.
        plot: draw the losses to this PNG file.
        publish: make the release the active one.
        settings: from flags, environment and files.
    """
    parameters = _checked(SequenceSettings, dim=dim, epochs=epochs, seed=seed)
    limits = DiversityLimits(settings.least_coverage, settings.least_entropy)
    log, catalogue = gather_log(*_ratings_of(data, items, columns, settings))
    with Progress(TextColumn("{task.description}"), console=err, transient=True) as progress:
        trained = train_sequence_release(log, catalogue, parameters, settings.model_dir, progress, plot, limits)
    metrics = trained.release.metrics
    say(
        f"{trained.release.label}: {len(log):,} ratings of {metrics['items']:.0f} items, D = {metrics['dim']:.0f}, "
        f"{metrics['epochs']:.0f} epochs, {trained.seconds:.1f} s; "
        f"lists of ten show {metrics['coverage']:.0%} of the catalogue"
    )
    if "validation_loss" in metrics:
        say(f"validation loss {metrics['validation_loss']:.3f}, of popularity alone {metrics['baseline_loss']:.3f}")
    _finish(trained.release, trained.plot, publish, settings)


def _ratings_of(
    data: str | None, items: str | None, columns: dict[str, str] | None, settings: Settings
) -> tuple[list[RatingEvent], list[Item]]:
    bad = BadLines()
    if data is None:
        known = list(read_catalogue(settings).items) if items is None else list(load_items(items, None, bad))
        return read_ratings(settings), known
    events = list(load_ratings(data, columns, settings, bad)[0])
    source = items or (data if data in DATASETS else None)
    known = [] if source is None else list(load_items(source, None, bad))
    if bad.count:
        note(f"{bad.count} lines were left out")
    return events, known


def _finish(release: ModelRelease, plot: Path | None, publish: bool, settings: Settings) -> None:
    say(f"{release.uri}  sha256 {release.sha256}")
    if plot is not None:
        say(f"losses drawn in {plot}")
    if publish:
        publish_release(settings, release)
        say(f"{release.label} is the active release on {settings.topic('models')}")


def _checked(kind: Any, **values: Any) -> Any:
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _train(
    kind: EmbeddingKind, parameters: Any, data: str | None, plot: Path | None, publish: bool, settings: Settings
) -> None:
    items = _items_of(data, settings)
    with Progress(TextColumn("{task.description}"), console=err, transient=True) as progress:
        trained = train_embeddings(items, kind, parameters, settings.model_dir, progress, plot, name=settings.embedding)
    metrics = trained.release.metrics
    say(
        f"{trained.release.label}: {metrics['items']:.0f} items, D = {metrics['dim']:.0f}, "
        f"validation loss {metrics['validation_loss']:.5f} (train {metrics['train_loss']:.5f}), {trained.seconds:.1f} s"
    )
    _finish(trained.release, trained.plot, publish, settings)


def _items_of(data: str | None, settings: Settings) -> list[Item]:
    if data is None:
        return list(read_catalogue(settings).items)
    bad = BadLines()
    items = list(load_items(data, None, bad))
    if bad.count:
        note(f"{bad.count} lines were left out")
    return items
