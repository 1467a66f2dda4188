"""``streamrec train``."""

from pathlib import Path
from typing import Any

from rich.progress import Progress, TextColumn

from recommender.embeddings.training import AutoencoderSettings, EmbeddingKind, PcaSettings
from schemas.errors import ConfigurationError
from schemas.events import Item
from services.admin.catalogue import read_catalogue
from services.admin.releases import publish_release
from services.cli.flags import SettingsArgument
from services.cli.show import err, note, say
from services.cli.sources import BadLines, load_items
from services.trainer.embeddings import TrainedRelease, train_embeddings
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
    _report(trained)
    if publish:
        publish_release(settings, trained.release)
        say(f"{trained.release.label} is the active release on {settings.topic('models')}")


def _items_of(data: str | None, settings: Settings) -> list[Item]:
    if data is None:
        return list(read_catalogue(settings).items)
    bad = BadLines()
    items = list(load_items(data, None, bad))
    if bad.count:
        note(f"{bad.count} lines were left out")
    return items


def _report(trained: TrainedRelease) -> None:
    metrics = trained.release.metrics
    say(
        f"{trained.release.label}: {metrics['items']:.0f} items, D = {metrics['dim']:.0f}, "
        f"validation loss {metrics['validation_loss']:.5f} (train {metrics['train_loss']:.5f}), {trained.seconds:.1f} s"
    )
    say(f"{trained.release.uri}  sha256 {trained.release.sha256}")
    if trained.plot is not None:
        say(f"losses drawn in {trained.plot}")
