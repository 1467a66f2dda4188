"""How good the first 20 recommendations are for people of whom nothing is known at the start, on MovieLens-100k.

Half of the people are held out (splits by seed); item statistics come from the ratings of the other half and stay as
they are, but for the person's own ratings, which the worker would add as they come. For each held-out person with at
least 50 ratings, 20 steps: the policy picks one of the films the person rated, in the order of the data set and without
repeats; the person's real rating is shown and added to the profile. Embeddings are learned from genres and years.

The claim: with the default ``greedy`` the mean rating of every step stays within 0.1 of ranking by the items' mean
ratings, or above it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.harness import Row, read_arguments, report
from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue, CatalogueEntry, build_catalogue
from recommender.draws import Draws
from recommender.embeddings.autoencoder import train_autoencoder
from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.model import build_model
from recommender.ledger.layout import ENTRY
from recommender.policies.protocol import SlateRequest
from recommender.policies.registry import make_policy
from recommender.profile import build_profile
from recommender.statistics import StatisticsView, apply_deltas
from schemas.codec import RATING_QUANTUM
from schemas.events import Item
from services.lab.datasets import load_dataset

STEPS = 20
MIN_RATINGS = 50
SPLITS = 5
SHOWN_STEPS = (1, 2, 3, 5, 10, 15, 20)
K0 = 5.0
PRIOR = 2.75
POLICIES = ("random", "greedy", "epsilon_greedy", "ucb", "greedy_compat")


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """A held-out person: catalogue rows of the films rated, in the data set's order, and the ratings."""

    user_id: str
    rows: Integers
    ratings: Floats


Play = Callable[[Person], Floats]


def main() -> None:
    """Measure and report."""
    arguments = read_arguments("cold_start", str(__doc__))
    dataset = load_dataset("movielens-100k")
    catalogue = _embed(dataset.items)
    ratings = dataset.ratings.assign(row=catalogue.rows_of(dataset.ratings["item_id"].tolist()))
    curves = [_measure_split(ratings, catalogue, seed) for seed in range(1 if arguments.quick else SPLITS)]
    names = list(curves[0])
    mean_curve = {name: np.mean([split[name] for split in curves], axis=0) for name in names}
    totals = {name: [float(split[name].mean()) for split in curves] for name in names}
    lowest, highest = mean_curve["random"].mean(), mean_curve["best possible"].mean()
    gain = mean_curve["greedy"] - mean_curve["item mean"]
    report(
        "cold_start",
        [_make_row(name, mean_curve[name], totals[name]) for name in names],
        {
            "greedy minus item mean, worst step": float(gain.min()),
            "greedy minus item mean, all steps": float(gain.mean()),
            "greedy, share of the way from random to best": float(
                (mean_curve["greedy"].mean() - lowest) / (highest - lowest)
            ),
        },
        packages=["numpy", "torch"],
        as_json=arguments.json,
    )


def _embed(items: Sequence[Item]) -> Catalogue:
    features = FeatureEncoder.fit(items)
    model = build_model(items, features, train_autoencoder(features.encode(items)))
    entries = [CatalogueEntry(item, offset) for offset, item in enumerate(items)]
    return build_catalogue(entries, model.vectors_for, b"autoenco", "autoencoder@benchmark")


def _measure_split(ratings: pd.DataFrame, catalogue: Catalogue, seed: int) -> dict[str, Floats]:
    """Return the mean rating of each step, shape [STEPS], by policy."""
    users = np.random.default_rng(seed).permutation(ratings["user_id"].unique())
    is_held_out = ratings["user_id"].isin(users[: len(users) // 2])
    others = _view(ratings[~is_held_out], catalogue)
    people = [
        Person(str(user_id), own["row"].to_numpy(), own["rating"].to_numpy())
        for user_id, own in ratings[is_held_out].groupby("user_id", sort=False)
        if len(own) >= MIN_RATINGS
    ]
    plays: dict[str, Play] = {"item mean": lambda person: _play_means(person, others)}
    for name in POLICIES:
        plays[name] = _make_play(name, catalogue, others, seed)
    plays["best possible"] = lambda person: np.sort(person.ratings)[::-1][:STEPS]
    return {name: np.mean([play(person) for person in people], axis=0) for name, play in plays.items()}


def _view(ratings: pd.DataFrame, catalogue: Catalogue) -> StatisticsView:
    quantised = np.rint(ratings["rating"].to_numpy() * RATING_QUANTUM).astype(np.int64)
    empty = StatisticsView.empty(catalogue.size)
    return apply_deltas(empty, ratings["row"].to_numpy(), np.ones(len(ratings), dtype=np.int64), quantised)


def _play_means(person: Person, others: StatisticsView) -> Floats:
    """Return the ratings met when films are taken by falling mean of the others' ratings."""
    means = others.means(K0, PRIOR)[person.rows]
    return person.ratings[np.argsort(-means, kind="stable")[:STEPS]]


def _make_play(name: str, catalogue: Catalogue, others: StatisticsView, seed: int) -> Play:
    policy = make_policy(name)

    def play(person: Person) -> Floats:
        entries = np.zeros(0, dtype=ENTRY)
        left = person.rows
        rating_of = dict(zip(person.rows.tolist(), person.ratings.tolist(), strict=True))
        met = np.zeros(STEPS)
        for t in range(STEPS):
            profile = build_profile(person.user_id, t, None, entries, catalogue)
            statistics = apply_deltas(others, profile.rows, profile.counts, profile.sums)
            draws = Draws(seed, person.user_id, str(t))
            row = int(policy.slate(SlateRequest(1, left), profile, catalogue, statistics, draws).rows[0])
            met[t] = rating_of[row]
            entry = np.array([(catalogue.hashes[row], 1, t, round(met[t] * RATING_QUANTUM))], dtype=ENTRY)
            entries = np.sort(np.concatenate((entries, entry)), order="item")
            left = left[left != row]
        return met

    return play


def _make_row(name: str, curve: Floats, totals: Sequence[float]) -> Row:
    steps = {f"step_{step}": round(float(curve[step - 1]), 3) for step in SHOWN_STEPS}
    return {
        "policy": name,
        "mean": round(float(curve.mean()), 3),
        "lowest_split": round(min(totals), 3),
        "highest_split": round(max(totals), 3),
    } | steps


if __name__ == "__main__":
    main()
