"""``streamrec train factors``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.progress import Progress, TextColumn

from recommender.factors.embedding import embed_factors
from recommender.factors.training import FactorSettings
from schemas.errors import ConfigurationError
from schemas.events import Item, RatingEvent
from services.admin.catalogue import read_catalogue
from services.admin.ratings_log import read_ratings_log
from services.admin.releases import publish_release
from services.cli.flags import SettingsArgument, limits_of
from services.cli.show import err, note, say
from services.cli.sources import BadLines, ColumnsArgument, load_items, load_ratings
from services.lab.datasets import DATASETS, load_dataset
from services.scorer.routing import make_policy_settings
from services.trainer.factors import TrainedFactors, train_linear
from streams.models.releases import save_release
from streams.settings import Settings


def factors(
    *,
    data: str | None = None,
    items: str | None = None,
    dim: int = FactorSettings().dim,
    rounds: int = FactorSettings().rounds,
    seed: int = FactorSettings().seed,
    plot: Path | None = None,
    publish: bool = True,
    embedding: Annotated[bool, Parameter(negative="")] = False,
    columns: ColumnsArgument = None,
    settings: SettingsArgument,
) -> None:
    """Train item factors and a prior of users on ratings, and make them the model of the policy linear.

    Args:
        data: movielens-100k, synthetic, or a file of ratings; the ratings and items topics by default.
        items: the items of a file of ratings, a file or data set.
        dim: factors of an item, a multiple of 8.
        rounds: of the training.
        seed: of every random number in the training.
        plot: draw what each round leaves unexplained to this PNG file.
        publish: make the release the active one.
        embedding: also release item vectors made of the factors, of the same size, for the policies without a model.
        columns: what the file of ratings calls a column.
        settings: from flags, environment and files.
    """
    try:
        parameters = FactorSettings(dim=dim, rounds=rounds, seed=seed)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    known, events = _gather(data, items, columns, settings)
    limits = limits_of(settings)
    with Progress(TextColumn("{task.description}"), console=err, transient=True) as progress:
        trained = train_linear(
            known, events, parameters, make_policy_settings(settings), limits, settings.model_dir, progress, plot
        )
    _report(trained)
    releases = [trained.release]
    if embedding:
        vectors = embed_factors(trained.model, known, parameters.ridge)
        releases.append(save_release(vectors, settings.model_dir, settings.embedding, metrics={"dim": vectors.dim}))
        say(f"{releases[-1].label}: item vectors of {len(vectors.item_ids)} items, D = {vectors.dim}")
    for release in releases if publish else ():
        publish_release(settings, release)
        say(f"{release.label} is the active release on {settings.topic('models')}")


def _gather(
    data: str | None, items: str | None, columns: dict[str, str] | None, settings: Settings
) -> tuple[list[Item], list[RatingEvent]]:
    if data is None:
        return list(read_catalogue(settings).items), read_ratings_log(settings)
    if items is None and data not in DATASETS:
        raise ConfigurationError(f"{data} has ratings only: say which items by --items FILE")
    bad = BadLines()
    known = load_dataset(data).items if items is None else list(load_items(items, None, bad))
    events = list(load_ratings(data, columns, settings, bad)[0])
    if bad.count:
        note(f"{bad.count} lines were left out")
    return known, events


def _report(trained: TrainedFactors) -> None:
    metrics, diversity = trained.release.metrics, trained.diversity
    say(
        f"{trained.release.label}: {metrics['ratings']:.0f} ratings of {metrics['items']:.0f} items by "
        f"{metrics['users']:.0f} users, D = {metrics['dim']:.0f}, noise {metrics['noise']:.4f}, {trained.seconds:.1f} s"
    )
    say(
        f"its lists of 10: coverage {diversity.coverage:.3f}, intra-list distance "
        f"{diversity.intra_list_distance:.3f}, entropy {diversity.entropy:.2f} bits"
    )
    say(f"{trained.release.uri}  sha256 {trained.release.sha256}")
    if trained.plot is not None:
        say(f"rounds drawn in {trained.plot}")
