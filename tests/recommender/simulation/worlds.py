"""Small worlds for the simulation, and the oracle: the project's own policies, asked user by user and step by step."""

from dataclasses import dataclass

import numpy as np

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.ledger import ENTRY
from recommender.policies import SlateRequest, make_policy
from recommender.profile import build_profile, update_mean
from recommender.simulation.experiment import Terms, simulate
from recommender.simulation.people import People
from recommender.simulation.players import BanditPlayer, draws_of
from recommender.statistics import StatisticsView, apply_deltas
from schemas.codec import RATING_QUANTUM
from schemas.events import Item

SEED = 7


def catalogue_of(vectors):
    vectors = np.asarray(vectors, dtype=np.float32).astype(np.float64)  # what a release can hold
    entries = [CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(len(vectors))]
    return build_catalogue(entries, lambda _: (vectors, np.ones(len(vectors), dtype=np.bool_)), b"12345678", "test@1")


def people_of(catalogue, histories, strangers=()):
    """{user: {row: rating}} -> people; strangers, [(row, rating)], rated too and take no part."""
    starts, rows, ratings = [0], [], []
    for history in histories.values():
        for row in sorted(history):
            rows.append(row)
            ratings.append(round(history[row] * RATING_QUANTUM))
        starts.append(len(rows))
    all_rows = np.array(rows + [row for row, _ in strangers], dtype=np.int64)
    all_ratings = np.array(ratings + [round(rating * RATING_QUANTUM) for _, rating in strangers], dtype=np.int64)
    statistics = apply_deltas(StatisticsView.empty(catalogue.size), all_rows, np.ones_like(all_rows), all_ratings)
    return People(catalogue, tuple(histories), np.array(starts), np.array(rows), np.array(ratings), statistics)


def random_people(seed, *, users, items, kinds, dim, most, has_strangers=True):
    """Items of few kinds, so that ties are common; users of 1 to ``most`` candidates; half as many other ratings."""
    rng = np.random.default_rng(seed)
    catalogue = catalogue_of(rng.normal(size=(kinds, dim))[rng.integers(0, kinds, size=items)])
    histories = {}
    for user in range(users):
        chosen = rng.choice(items, size=rng.integers(1, most + 1), replace=False)
        histories[f"u{user}"] = {int(row): float(rng.integers(1, 11) / 2) for row in chosen}
    strangers = [(int(rng.integers(0, items)), float(rng.integers(1, 11) / 2)) for _ in range(items // 2)]
    return people_of(catalogue, histories, strangers if has_strangers else ())


def run(people, policy, terms, seed=SEED):
    def make_player(block):
        return BanditPlayer(policy, seed, [people.user_ids[user] for user in block.users])

    return simulate(people, make_player, terms, iter(range(1 << 30)).__next__)


@dataclass
class OneStep:
    row: int
    score: float
    explored: bool
    relevance: float


def ask_policies(people, name, steps, *, repeats, settings=None, seed=SEED):
    """[user][step] -> what the policy's slate of one says, None where nothing is left."""
    return [
        list(_ask_for_user(people, place, make_policy(name, settings), steps, repeats, seed))
        for place in range(len(people.user_ids))
    ]


def _ask_for_user(people, place, policy, steps, repeats, seed):
    catalogue, user_id = people.catalogue, people.user_ids[place]
    span = slice(people.starts[place], people.starts[place + 1])
    left, rating_of = people.rows[span], dict(zip(people.rows[span], people.ratings[span], strict=True))
    ones = np.ones(len(left), dtype=np.int64)
    others = apply_deltas(people.statistics, left, -ones, -people.ratings[span])
    mean, folded = np.zeros(catalogue.dim), {}
    for t in range(steps):
        if not len(left):
            yield None
            continue
        entries = np.array([(catalogue.hashes[row], *rest) for row, rest in folded.items()], dtype=ENTRY)
        profile = build_profile(user_id, t, mean, np.sort(entries, order="item"), catalogue)
        statistics = apply_deltas(others, profile.rows, profile.counts, profile.sums)
        slate = policy.slate(
            SlateRequest(1, left), profile, catalogue, statistics, draws_of(seed, policy.name, user_id, t)
        )
        row, rating = int(slate.rows[0]), int(rating_of[slate.rows[0]])
        yield OneStep(row, slate.scores[0], bool(slate.explored[0]), slate.parts[0]["relevance"])
        mean = update_mean(mean, t, rating / RATING_QUANTUM * catalogue.vectors[row])
        count, _, total = folded.get(row, (0, 0, 0))
        folded[row] = (count + 1, t, total + rating)
        if not repeats:
            left = left[left != row]


def assert_same(outcomes, asked):
    """Item for item, and bit for bit in the scores."""
    for place, steps in enumerate(asked):
        for step, one in enumerate(steps):
            row, explored = outcomes.rows[place, step], outcomes.explored[place, step]
            assert (row, explored) == ((-1, False) if one is None else (one.row, one.explored)), (place, step)
            assert one is None or outcomes.scores[place, step] == one.score, (place, step)


def compat_terms(steps):
    return Terms(steps=steps, mode="compat", repeats=True)


def default_terms(steps, *, repeats=False):
    return Terms(steps=steps, mode="default", repeats=repeats)
