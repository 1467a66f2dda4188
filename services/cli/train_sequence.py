"""``streamrec train sequence``."""

from pathlib import Path

from rich.progress import Progress, TextColumn

from recommender.sequence.training import SequenceSettings
from schemas.errors import ConfigurationError
from schemas.events import Item, RatingEvent
from services.admin.catalogue import read_catalogue
from services.admin.ratings_log import read_ratings_log
from services.admin.releases import publish_release
from services.cli.flags import SettingsArgument, limits_of
from services.cli.show import err, note, say
from services.cli.sources import BadLines, ColumnsArgument, load_items, load_ratings
from services.lab.datasets import DATASETS
from services.lab.next_item import gather_log
from services.trainer.sequence import train_sequence_release
from streams.settings import Settings


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
    try:
        parameters = SequenceSettings(dim=dim, epochs=epochs, seed=seed)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    limits = limits_of(settings)
    log, catalogue = gather_log(*ratings_of(data, items, columns, settings))
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
    say(f"{trained.release.uri}  sha256 {trained.release.sha256}")
    if trained.plot is not None:
        say(f"losses drawn in {trained.plot}")
    if publish:
        publish_release(settings, trained.release)
        say(f"{trained.release.label} is the active release on {settings.topic('models')}")


def ratings_of(
    data: str | None, items: str | None, columns: dict[str, str] | None, settings: Settings
) -> tuple[list[RatingEvent], list[Item]]:
    """Return the ratings of a data set, a file or the bus, and the items that are known beside those rated."""
    bad = BadLines()
    if data is None:
        known = list(read_catalogue(settings).items) if items is None else list(load_items(items, None, bad))
        return read_ratings_log(settings), known
    events = list(load_ratings(data, columns, settings, bad)[0])
    source = items or (data if data in DATASETS else None)
    known = [] if source is None else list(load_items(source, None, bad))
    if bad.count:
        note(f"{bad.count} lines were left out")
    return events, known
