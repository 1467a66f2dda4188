"""The protocol `held_out`: the first recommendations for people of whom nothing is known.

Half of the users are held out, by a seed. A model and the item statistics are the other half's. Each held-out user with
enough ratings meets 20 items, one a step: the policy picks one of the items the user rated, the user's real rating is
revealed and added to the user's ledger and the statistics, as the worker would. Nothing else changes during the run.

    gap_closed = (policy - random)/(best - random)

of mean ratings over users and steps; random by expectation, best by the user's own order.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue, CatalogueEntry, LabelledModel, build_catalogue
from recommender.diversity import Diversity, measure_diversity
from recommender.draws import Draws
from recommender.factors.model import AlignedFactors
from recommender.factors.training import Ratings, train_factors
from recommender.ledger.layout import ENTRY
from recommender.policies import Policy, PolicyModel, PolicySettings, SlateRequest
from recommender.policies.linear import LINEAR
from recommender.profile import Profile, build_profile
from recommender.ranking.log import RatingLog
from recommender.rl.model import ACTORS
from recommender.rows import AllBut
from recommender.sequence.training import SequenceSettings
from recommender.statistics import StatisticsView, apply_deltas
from schemas.codec import RATING_QUANTUM
from schemas.errors import ConfigurationError, DataError
from services.lab.contestants import ITEM_MEAN, RANDOM, make_contestant
from services.lab.evaluation import Report, Task
from services.lab.held_out_figures import BEST, CEILING, Split, report_splits
from services.lab.rankers import ActorTrainer, Trainings

STEPS = 20
LEAST_RATINGS = 50
LIST_SIZE = 10


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """A held-out user: catalogue rows of the items rated, ascending, and the ratings."""

    user_id: str
    rows: Integers
    ratings: Floats


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What the policies know before the first step, and whom they meet.

    Attributes:
        catalogue: the items, with vectors and models of the training users.
        statistics: of the training users.
        people: held out, with enough ratings.
        seed: of the split and of every draw.
    """

    catalogue: Catalogue
    statistics: StatisticsView
    people: Sequence[Person]
    seed: int


def evaluate_held_out(task: Task) -> Report:
    """Run the protocol.

    Raises:
        DataError: no held-out user has enough ratings.
        ConfigurationError: a policy is unknown, or needs a model that is not trained here.
    """
    names = list(dict.fromkeys([ITEM_MEAN, *(name for name in task.policies if name != RANDOM)]))
    policies = {name: make_contestant(name, task.settings) for name in names}
    needed = {policy.model for policy in policies.values() if policy.model is not None}
    splits, diversity = [], {}
    total = len(task.splits) * len(policies)
    for number, seed in enumerate(task.splits):
        task.on_progress(f"split {seed}: training", number * len(policies), total)
        world = make_world(task, seed, needed)
        split, states = Split([person.user_id for person in world.people]), {}
        split.add(RANDOM, np.repeat([[person.ratings.mean()] for person in world.people], STEPS, axis=1))
        split.add(BEST, np.array([np.sort(person.ratings)[::-1][:STEPS] for person in world.people]))
        for place, (name, policy) in enumerate(policies.items()):
            task.on_progress(f"split {seed}: {name}", number * len(policies) + place, total)
            met, states[name] = play_all(policy, world)
            split.add(name, met)
            if number == 0:
                diversity[name] = measure_lists(policy, world, states[name])
        if LINEAR in needed:
            split.add(CEILING, np.array([_rank_knowing_all(world, person, task.settings) for person in world.people]))
        splits.append(split)
    task.on_progress("done", total, total)
    return report_splits(splits, diversity, task.limits)


def make_world(task: Task, seed: int, needed: Collection[str]) -> World:
    """Return the world of a split; of the users' ratings only those of the training half shape it, but for ``people``.

    Raises:
        DataError: no held-out user has enough ratings.
    """
    train, held_out = split_users(task.ratings, seed)
    entries = [CatalogueEntry(item, row) for row, item in enumerate(task.items)]
    trainer = ActorTrainer(_log_of(train, task), task.items, _trainings(task))
    models = {
        name: LabelledModel(f"{name}@split-{seed}", _train(name, train, task, trainer)) for name in sorted(needed)
    }
    catalogue = build_catalogue(entries, task.vectors_of, b"heldout.", "held_out", models)
    people = list(_people_of(held_out, catalogue))
    if not people:
        raise DataError(f"no held-out user has {LEAST_RATINGS} ratings or more")
    return World(catalogue, _count(train, catalogue), people, seed)


def _train(name: str, ratings: pd.DataFrame, task: Task, trainer: ActorTrainer) -> PolicyModel:
    """Return the model of a policy, learned from the ratings of the training users.

    Raises:
        ConfigurationError: the protocol has no training for the policy, or the ratings are too few.
    """
    if name == LINEAR:
        return train_factors(task.items, ratings_of(ratings, task), task.factors)
    if name not in ACTORS:
        raise ConfigurationError(f"held_out trains no model of {name}: measure it by next_item")
    return trainer.train(name)


def _log_of(ratings: pd.DataFrame, task: Task) -> RatingLog:
    each = ratings_of(ratings, task)
    quantised = np.rint(ratings["rating"].to_numpy() * RATING_QUANTUM).astype(np.int64)
    return RatingLog(each.users, each.rows, quantised, tuple(map(str, range(each.n_users))), len(task.items))


def _trainings(task: Task) -> Trainings:
    return Trainings(task.factors, SequenceSettings(), actor=task.actor, scale=task.scale)


def split_users(ratings: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the ratings of the users to learn from, and of the half held out."""
    users = np.random.default_rng(seed).permutation(ratings["user_id"].unique())
    is_held_out = ratings["user_id"].isin(users[: len(users) // 2])
    return ratings[~is_held_out], ratings[is_held_out]


def ratings_of(frame: pd.DataFrame, task: Task) -> Ratings:
    """Return ratings as training takes them: users numbered as they come, rows by the task's items."""
    rows = {item.item_id: row for row, item in enumerate(task.items)}
    users: Integers = pd.factorize(frame["user_id"])[0].astype(np.int64)
    return Ratings(
        users,
        np.asarray(frame["item_id"].map(rows), dtype=np.int64),
        frame["rating"].to_numpy(dtype=np.float64),
    )


def _people_of(held_out: pd.DataFrame, catalogue: Catalogue) -> Iterator[Person]:
    for user_id, own in held_out.groupby("user_id", sort=False):
        if len(own) >= LEAST_RATINGS:
            rows = catalogue.rows_of(own["item_id"].tolist())
            order = np.argsort(rows)
            yield Person(str(user_id), rows[order], own["rating"].to_numpy(dtype=np.float64)[order])


def _count(ratings: pd.DataFrame, catalogue: Catalogue) -> StatisticsView:
    rows = catalogue.rows_of(ratings["item_id"].tolist())
    sums = np.rint(ratings["rating"].to_numpy() * RATING_QUANTUM).astype(np.int64)
    return apply_deltas(StatisticsView.empty(catalogue.size), rows, np.ones(len(rows), dtype=np.int64), sums)


def play_all(policy: Policy, world: World) -> tuple[Floats, list[tuple[Profile, StatisticsView]]]:
    """Return the ratings that each person meets, shape [B, STEPS], and what is known of each afterwards."""
    played = [play(policy, world, person) for person in world.people]
    return np.array([met for met, _ in played]), [state for _, state in played]


def play(policy: Policy, world: World, person: Person) -> tuple[Floats, tuple[Profile, StatisticsView]]:
    """Return the ratings that a person meets, shape [STEPS], and what is known of the person afterwards."""
    left, met, seen = person.rows, np.zeros(STEPS), np.zeros(STEPS, dtype=np.int64)
    for t in range(STEPS):
        profile, statistics = know(world, person.user_id, seen[:t], met[:t])
        draws = Draws(world.seed, person.user_id, str(t))
        slate = policy.slate(SlateRequest(1, left), profile, world.catalogue, statistics, draws)
        seen[t] = slate.rows[0]
        met[t] = person.ratings[np.searchsorted(person.rows, seen[t])]
        left = left[left != seen[t]]
    return met, know(world, person.user_id, seen, met)


def know(world: World, user_id: str, seen: Integers, met: Floats) -> tuple[Profile, StatisticsView]:
    """Return the user and the statistics once the worker has applied these ratings, in their order."""
    entries = np.zeros(len(seen), dtype=ENTRY)
    entries["item"] = world.catalogue.hashes[seen]
    entries["count"], entries["last_t"] = 1, np.arange(len(seen))
    entries["rating_sum"] = np.rint(met * RATING_QUANTUM)
    entries = np.sort(entries, order="item")
    profile = build_profile(user_id, len(seen), None, entries, world.catalogue)
    return profile, apply_deltas(world.statistics, profile.rows, profile.counts, profile.sums)


def measure_lists(policy: Policy, world: World, states: Sequence[tuple[Profile, StatisticsView]]) -> Diversity:
    """Return the diversity of what each person would be shown next, out of the whole catalogue."""
    lists = np.full((len(states), LIST_SIZE), -1, dtype=np.int64)
    for place, (profile, statistics) in enumerate(states):
        request = SlateRequest(LIST_SIZE, AllBut(world.catalogue.size, np.sort(profile.rows)))
        draws = Draws(world.seed, profile.user_id, "lists")
        rows = policy.slate(request, profile, world.catalogue, statistics, draws).rows
        lists[place, : len(rows)] = rows
    return measure_diversity(lists, world.catalogue.vectors)


def expect_knowing_all(world: World, person: Person, settings: PolicySettings) -> Floats:
    """Return what the model of ``linear`` expects of each rating when it knows all the person's others, shape [n].

    With K the prior's covariance of the items' surprises and A = K + sigma^2 I, what is expected of y_i given the
    others is y_i - (A^-1 y)_i / (A^-1)_ii.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 5.4.2.
    """
    factors = world.catalogue.models[LINEAR].value
    assert isinstance(factors, AlignedFactors)
    x, prior = factors.vectors[person.rows], factors.prior
    general = world.statistics.means(settings.k0, settings.prior)[person.rows] + x @ prior.mean
    inverse = np.linalg.inv(x @ prior.covariance @ x.T + prior.noise * np.eye(len(x)))
    surprise = person.ratings - general
    return np.asarray(general + surprise - (inverse @ surprise) / np.diag(inverse))


def _rank_knowing_all(world: World, person: Person, settings: PolicySettings) -> Floats:
    expected = expect_knowing_all(world, person, settings)
    return np.asarray(person.ratings[np.argsort(-expected, kind="stable")[:STEPS]])
