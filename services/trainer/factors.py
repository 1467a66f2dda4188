"""Train the model of the policy ``linear`` and write its release, unless what it would recommend has collapsed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from rich.progress import Progress

from recommender.arrays import Integers
from recommender.catalogue import Catalogue, CatalogueEntry, LabelledModel, build_catalogue
from recommender.diversity import Diversity, DiversityLimits, measure_diversity
from recommender.draws import Draws
from recommender.factors.model import FactorModel
from recommender.factors.training import FactorSettings, OnRound, Ratings, Round, train_factors
from recommender.ledger.layout import ENTRY
from recommender.policies import PolicySettings, SlateRequest, make_policy
from recommender.policies.linear import LINEAR
from recommender.profile import build_profile
from recommender.rows import AllBut
from recommender.statistics import StatisticsView, apply_deltas
from schemas.codec import RATING_QUANTUM
from schemas.errors import DataError, ModelError
from schemas.events import Item, ModelRelease, RatingEvent
from streams.models.releases import manifest_uri, save_release

CHECKED_USERS = 200
LIST_SIZE = 10

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class TrainedFactors:
    """What a training run leaves behind.

    Attributes:
        release: what to publish on ``models``.
        manifest_uri: where its manifest is.
        model: the model as written.
        rounds: of every part, in order.
        diversity: of what it would recommend to the users it was trained on.
        seconds: the time of training.
        plot: the picture of the noise by round, None when none was asked for.
    """

    release: ModelRelease
    manifest_uri: str
    model: FactorModel
    rounds: tuple[Round, ...]
    diversity: Diversity
    seconds: float
    plot: Path | None


def train_linear(
    items: Sequence[Item],
    events: Sequence[RatingEvent],
    settings: FactorSettings | None = None,
    policy_settings: PolicySettings | None = None,
    limits: DiversityLimits | None = None,
    model_dir: str = ".streamrec/models",
    progress: Progress | None = None,
    plot: Path | None = None,
    *,
    version: str | None = None,
) -> TrainedFactors:
    """Train on ratings and the items' content and write a release; nothing is published.

    Args:
        items: the catalogue.
        events: the ratings; those of other items take no part, and of a user's ratings of one item the last counts.
        settings: of the training.
        policy_settings: of the policy, with which the check recommends.
        limits: below which nothing is released.
        model_dir: where releases are kept, a path or any fsspec URL.
        progress: a running display, which gets one task.
        plot: where to draw the noise by round, as PNG.
        version: of the release; by default the time and the sum.

    Raises:
        DataError: no item has a genre or a year, or no rating is of an item.
        ModelError: what it would recommend has collapsed, or the release cannot be written.
    """
    settings = settings or FactorSettings()
    ratings = gather_ratings(items, events)
    rounds: list[Round] = []
    started = time.perf_counter()
    try:
        model = train_factors(items, ratings, settings, _shown_on(progress, settings, rounds))
    except ValueError as error:
        raise DataError(str(error)) from error
    seconds = time.perf_counter() - started
    diversity = recommend_to_trained(model, items, ratings, policy_settings or PolicySettings())
    if fault := (limits or DiversityLimits()).fault_of(diversity):
        raise ModelError(f"what {LINEAR} would recommend has collapsed, so it is not released: {fault}")
    metrics = {
        "items": float(len(model.item_ids)),
        "users": float(ratings.n_users),
        "ratings": float(len(ratings.rows)),
        "dim": float(model.dim),
        "noise": model.prior.noise,
        "coverage": diversity.coverage,
        "intra_list_distance": diversity.intra_list_distance,
        "entropy_bits": diversity.entropy,
        "seconds": seconds,
    }
    release = save_release(model, model_dir, LINEAR, version, metrics, kind="policy")
    if plot is not None:
        from services.trainer.plot import plot_rounds  # noqa: PLC0415 - matplotlib is wanted for pictures only

        plot_rounds(rounds, plot, title=f"{release.label}: {len(ratings.rows):,} ratings, D = {model.dim}")
    _log.info("factors.trained", release=release.label, uri=release.uri, **metrics)
    return TrainedFactors(release, manifest_uri(release), model, tuple(rounds), diversity, seconds, plot)


def gather_ratings(items: Sequence[Item], events: Sequence[RatingEvent]) -> Ratings:
    """Return what users rated, each pair once, the last rating counting.

    Raises:
        DataError: no rating is of an item.
    """
    rows = {item.item_id: row for row, item in enumerate(items)}
    last = {(event.user_id, rows[event.item_id]): event.rating for event in events if event.item_id in rows}
    if not last:
        raise DataError(f"training needs ratings of the {len(items)} items of the catalogue, got none")
    numbers: dict[str, int] = {}
    users = [numbers.setdefault(user_id, len(numbers)) for user_id, _ in last]
    return Ratings(
        np.array(users, dtype=np.int64),
        np.array([row for _, row in last], dtype=np.int64),
        np.array(list(last.values()), dtype=np.float64),
    )


def recommend_to_trained(
    model: FactorModel, items: Sequence[Item], ratings: Ratings, settings: PolicySettings
) -> Diversity:
    """Return the diversity of what the policy would recommend to the first users it was trained on."""
    catalogue = build_catalogue(
        [CatalogueEntry(item, row) for row, item in enumerate(items)], models={LINEAR: LabelledModel(LINEAR, model)}
    )
    quantised = np.rint(ratings.values * RATING_QUANTUM).astype(np.int64)
    ones = np.ones(len(ratings.rows), dtype=np.int64)
    statistics = apply_deltas(StatisticsView.empty(len(items)), ratings.rows, ones, quantised)
    policy = make_policy(LINEAR, settings)
    lists = np.full((min(CHECKED_USERS, ratings.n_users), LIST_SIZE), -1, dtype=np.int64)
    for user in range(len(lists)):
        own = np.flatnonzero(ratings.users == user)
        entries = _entries(catalogue, ratings.rows[own], quantised[own])
        profile = build_profile(f"user {user}", len(own), None, entries, catalogue)
        request = SlateRequest(LIST_SIZE, AllBut(len(items), np.sort(profile.rows)))
        rows = policy.slate(request, profile, catalogue, statistics, Draws(0, profile.user_id, "check")).rows
        lists[user, : len(rows)] = rows
    content = model.content.encode(items)
    lengths = np.sqrt((content * content).sum(axis=1, keepdims=True))
    return measure_diversity(lists, content / np.maximum(lengths, 1.0))


def _entries(catalogue: Catalogue, rows: Integers, sums: Integers) -> np.ndarray:
    entries = np.zeros(len(rows), dtype=ENTRY)
    entries["item"], entries["count"] = catalogue.hashes[rows], 1
    entries["last_t"], entries["rating_sum"] = np.arange(len(rows)), sums
    return np.sort(entries, order="item")


def _shown_on(progress: Progress | None, settings: FactorSettings, rounds: list[Round]) -> OnRound:
    total = settings.parts * settings.rounds
    task = None if progress is None else progress.add_task("factors", total=total)

    def show(done: Round) -> None:
        rounds.append(done)
        if progress is not None and task is not None:
            said = f"factors: part {done.part}/{settings.parts}, round {done.number}/{settings.rounds}"
            progress.update(task, completed=len(rounds), description=f"{said}  noise {done.noise:.4f}")

    return show
