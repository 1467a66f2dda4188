"""Small worlds for policies: a catalogue from vectors, a user from a history, statistics from ratings."""

import numpy as np
import pytest

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.hashing import hash_id
from recommender.ledger import ENTRY
from recommender.profile import build_profile, update_mean
from recommender.statistics import StatisticsView
from schemas.events import Item
from tests.policy_models import labelled_models


@pytest.fixture(scope="session")
def catalogue_of():
    """vectors [N, D] -> items i0, i1, ... in this order; a row of None has no vector."""

    def make(vectors):
        dim = next(len(x) for x in vectors if x is not None)
        given = np.array([np.zeros(dim) if x is None else x for x in vectors], dtype=np.float64)
        flags = np.array([x is not None for x in vectors])
        entries = [CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(len(vectors))]
        models = labelled_models([entry.item.item_id for entry in entries], given)
        return build_catalogue(entries, lambda _: (given, flags), b"12345678", "test@1", models)

    return make


@pytest.fixture(scope="session")
def profile_of():
    """[(row, rating), ...] in time order -> the user who gave them, folded one by one."""

    def make(catalogue, history, user_id="u"):
        mean, folded = np.zeros(catalogue.dim), {}
        for t, (row, rating) in enumerate(history):
            mean = update_mean(mean, t, rating * catalogue.vectors[row])
            count, _, total = folded.get(row, (0, 0, 0))
            folded[row] = (count + 1, t, total + round(rating * 10_000))
        entries = np.array([(hash_id(f"i{row}"), *rest) for row, rest in folded.items()], dtype=ENTRY)
        return build_profile(user_id, len(history), mean, np.sort(entries, order="item"), catalogue)

    return make


@pytest.fixture(scope="session")
def statistics_of():
    """counts and rating sums by row, and of all items -> the view."""

    def make(counts, sums, total_count=None, total_sum=None):
        quantised = [round(value * 10_000) for value in sums]
        return StatisticsView(
            np.array(counts, dtype=np.int64),
            np.array(quantised, dtype=np.int64),
            sum(counts) if total_count is None else total_count,
            sum(quantised) if total_sum is None else round(total_sum * 10_000),
        )

    return make
