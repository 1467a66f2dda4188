"""Small states, catalogues and statistics for tests of the pure parts."""

import numpy as np

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.hashing import hash_id
from recommender.ledger import Ledger, apply_event
from recommender.ledger.layout import LastEvent
from recommender.policies import PolicySettings
from recommender.statistics import StatisticsView
from schemas.events import Item, RecommendationRequest
from services.scorer.answer import Answerer, Sight
from services.scorer.routing import Routing
from streams.store.reader import ShardView, StateSnapshot
from tests.policy_models import labelled_models

EMBEDDING = b"embedded"
TOPIC = 77
NAMES = ("a", "b", "c", "d")
VECTORS = {"a": (1.0, 0.0), "b": (0.0, 1.0), "c": (0.6, 0.8), "d": (-1.0, 0.0)}


def make_catalogue(names=NAMES, withdrawn=()):
    def vectors_of(items):
        return np.array([VECTORS[item.item_id] for item in items]).reshape(-1, 2), np.ones(len(items), bool)

    entries = [
        CatalogueEntry(Item(item_id=name, genres=("Drama" if name in "ab" else "Comedy",)), row, name not in withdrawn)
        for row, name in enumerate(names)
    ]
    given = np.array([VECTORS[name] for name in names]).reshape(-1, 2)
    return build_catalogue(entries, vectors_of, EMBEDDING, "items@1", labelled_models(names, given))


def make_ledger(*ratings, topic=TOPIC, embedding_id=EMBEDDING):
    ledger = Ledger.empty(2, embedding_id=embedding_id)
    for offset, (name, rating) in enumerate(ratings):
        x = np.array(VECTORS[name]) if name in VECTORS else None
        at = LastEvent(topic, 3, offset)
        ledger = apply_event(ledger, item=hash_id(name), rating=round(rating * 10_000), event=0, at=at, x=x)
    return ledger


def make_statistics(catalogue, **ratings):
    """Counts and sums, by item: ``a=(2, 8.0)``."""
    pairs = [ratings.get(name, (0, 0.0)) for name in catalogue.item_ids]
    counts = np.array([count for count, _ in pairs], np.int64)
    sums = np.array([round(total * 10_000) for _, total in pairs], np.int64)
    return StatisticsView(counts, sums, int(counts.sum()), int(sums.sum()))


def make_sight(ledgers, catalogue=None, statistics=None, **said):
    catalogue = catalogue or make_catalogue()
    state = StateSnapshot(ledgers, {0: ShardView({0: 91, 3: 5}, 9.0, 4)}, dict.fromkeys(ledgers, 0))
    return Sight(state, TOPIC, catalogue, statistics or make_statistics(catalogue), {0: 88}, **said)


def make_answerer(default="greedy", seed=7, **parameters):
    settings = PolicySettings(**parameters)
    return Answerer(Routing({default: 1.0}, settings, seed), settings, seed)


def ask(user_id="u", **said):
    return RecommendationRequest(**{"request_id": "r", "user_id": user_id} | said)
