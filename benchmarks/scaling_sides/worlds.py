"""A state and a catalogue of given sizes, and the work on them: events as the worker's, requests as the scorer's."""

import asyncio
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import product
from typing import Any

import numpy as np

from benchmarks.ledger_sides.worlds import TOPIC_ID, Hand, make_ledger
from recommender.catalogue import Catalogue, CatalogueEntry, build_catalogue
from recommender.hashing import shard_of
from recommender.ledger.batch import EmbeddedItems
from recommender.ledger.layout import FIXED_BYTES, TAIL_KEEP, most_in_tail
from recommender.policies import prepare_search
from schemas.codec import decode_request, encode
from schemas.events import Item, RecommendationRequest
from services.scorer.answer import Answerer
from services.scorer.routing import Routing, make_policy_settings
from services.scorer.state import StateSource
from streams.settings import Settings
from streams.store.clients import make_client
from streams.store.keys import ShardKeys
from streams.store.reader import StateReader
from streams.store.statistics import StatisticsFollower
from streams.store.writer import DELTA

EMBEDDING = b"embedded"
LEDGERS = 512
"""So many ledgers are different; users beyond them have one of these."""
RATED_BEFORE = 40
WEIGHED = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a world is made of.

    Attributes:
        users: with a ledger in the store.
        items: in the catalogue, N.
        seen: items that each user rated, S.
        dim: numbers of a vector, D.
        shards: that the users lie in, V; events are measured in worlds of one shard only.
        partitions: of the log, each with a watermark in every shard.
    """

    users: int = 1_000
    items: int = 4_000
    seen: int = 40
    dim: int = 16
    shards: int = 1
    partitions: int = 1


class World:
    """A namespace of a store, filled, and both hands on it.

    Args:
        url: of the store.
        sizes: how large.
        loop: where the worker's calls run.

    Attributes:
        bytes_a_user: what a ledger takes of the store's memory as it was stored.
    """

    def __init__(self, url: str, sizes: Sizes, loop: asyncio.AbstractEventLoop) -> None:
        self.sizes = sizes
        self._draws = np.random.default_rng(7)
        item_ids = [f"i{number}" for number in range(sizes.items)]
        vectors = self._draws.normal(size=(sizes.items, sizes.dim)) / np.sqrt(sizes.dim)
        self._catalogue = _make_catalogue(item_ids, vectors)
        order = np.argsort(self._catalogue.hashes)
        items = EmbeddedItems(EMBEDDING, self._catalogue.hashes[order], vectors[order])
        namespace = "-".join(map(str, astuple(sizes)))
        self._hand = Hand(url, namespace, items, loop, sizes.shards)
        self._client: Any = make_client(self._hand.settings)
        self._rated = self._fill(items)
        self.bytes_a_user = self._weigh()
        self._source, self._answerer = _make_scorer(self._client, self._hand.settings, sizes)
        for _ in range(RATED_BEFORE):
            self.apply(LEDGERS)
        rated = np.zeros(LEDGERS, DELTA)
        rated["item"], rated["count"], rated["rating_sum"] = self._rated, 1, 35_000
        for shard, partition in product(range(sizes.shards), range(sizes.partitions)):
            if (shard, partition) != (0, 0):
                self._hand.change_statistics(shard, partition, rated)

    def _fill(self, items: EmbeddedItems) -> np.ndarray:
        """Store a ledger of each user; return, by ledger, an item that is in it."""
        seen = self.sizes.seen
        tails = np.linspace(3 * TAIL_KEEP // 2, most_in_tail(seen), LEDGERS).astype(int).tolist()
        ledgers = [make_ledger(items, seen, tail, self._draws) for tail in tails]
        with self._client.pipeline(transaction=False) as pipe:
            for user in range(self.sizes.users):
                keys = ShardKeys(self._hand.settings.namespace, shard_of(_name(user), self.sizes.shards))
                pipe.set(keys.ledger(_name(user)), ledgers[user % LEDGERS])
                if len(pipe) >= 500:
                    pipe.execute()
            pipe.execute()
        middle = FIXED_BYTES + 8 * self.sizes.dim + 24 * (seen // 2)
        return np.array([int.from_bytes(each[middle : middle + 8], "little") for each in ledgers], np.uint64)

    def apply(self, together: int) -> None:
        """Apply an event each of so many users, drawn anew, by one commit; they rate an item they have rated."""
        users = self._draw(together)
        self._hand.apply([_name(user) for user in users], self._rated[np.array(users) % LEDGERS][None])

    def answer(self, together: int, k: int) -> None:
        """Answer a request each of so many users as one micro-batch, from its bytes to the answer's."""
        asked = [
            encode(RecommendationRequest(request_id=f"r{user}", user_id=_name(user), k=k))
            for user in self._draw(together)
        ]
        requests = [decode_request(each) for each in asked]
        sight = self._source.look([request.user_id for request in requests], self._catalogue)
        prepared = self._answerer.prepare(requests, sight)
        for request, own in zip(requests, prepared, strict=True):
            encode(self._answerer.answer(request, sight, own))

    def _weigh(self) -> float:
        """Return what a ledger takes of the store's memory, key and allocation included, on average."""
        names = [_name(user) for user in self._draw(WEIGHED)]
        keys = [ShardKeys(self._hand.settings.namespace, shard_of(name, self.sizes.shards)) for name in names]
        with self._client.pipeline(transaction=False) as pipe:
            for own, name in zip(keys, names, strict=True):
                pipe.memory_usage(own.ledger(name))
            return float(np.mean(pipe.execute()))

    def store_cpu_s(self) -> float:
        """Return the processor time that the store has used so far."""
        found = self._client.info("cpu")
        return float(found["used_cpu_user"] + found["used_cpu_sys"])

    def close(self) -> None:
        """Let go of the store."""
        self._hand.close()
        self._client.close()

    def _draw(self, users: int) -> list[int]:
        return self._draws.choice(self.sizes.users, users, replace=False, shuffle=False).tolist()


def _name(user: int) -> str:
    return f"u{user}"


def _make_catalogue(item_ids: Sequence[str], vectors: np.ndarray) -> Catalogue:
    entries = [CatalogueEntry(Item(item_id=item_id), row) for row, item_id in enumerate(item_ids)]
    catalogue = build_catalogue(entries, lambda _: (vectors, np.ones(len(vectors), np.bool_)), EMBEDDING, "items@1")
    prepare_search(catalogue)
    return catalogue


def _make_scorer(client: Any, settings: Settings, sizes: Sizes) -> tuple[StateSource, Answerer]:
    policies = make_policy_settings(settings)
    reader = StateReader(client, settings.namespace, sizes.shards, TOPIC_ID, sizes.partitions)
    source = StateSource(reader, StatisticsFollower(client, reader), TOPIC_ID)
    return source, Answerer(Routing({"greedy": 1.0}, policies, settings.seed), policies, settings.seed)
