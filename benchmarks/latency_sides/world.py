"""A catalogue of any size with vectors, people who rated some of it, and requests for them.

Nothing goes the long way where that would take minutes: items are written to their topic in whole batches, the vectors
are drawn and released as they are, and the ratings are applied by the worker's own code without a log on the bus.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.ingest_sides.log import PARTITIONS, LoggedRecord, fill_topic, keep_records, partition_of
from benchmarks.ingest_sides.stage import DIM
from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.embeddings.model import EmbeddingModel
from recommender.hashing import hash_ids
from recommender.ledger.batch import EmbeddedItems
from schemas.codec import RatingDecoder, encode
from schemas.events import Item, RatingEvent
from services.admin.bus import open_admin
from services.admin.releases import publish_release
from services.lab.synthetic import FIRST_YEAR, GENRES, LAST_YEAR
from streams.bus.dead_letters import DeadLetter
from streams.bus.topics import create_topics, require_topic
from streams.models.releases import embedding_id, save_release
from streams.settings import Settings
from streams.store.clients import make_async_client
from streams.store.writer import StateWriter
from streams.worker.apply import BatchApplier
from streams.worker.session import Session

USERS = 2_000
RATINGS_A_USER = 50
RECORDS_A_BATCH = 2_048
DEADLINE_MS = 600_000
"""Requests are encoded before the clock starts, and none shall expire."""
_ID_START = len("request-")


def make_world(settings: Settings, items: int, seed: int = 5) -> None:
    """Make topics, ``items`` items, their vectors of 16 numbers, and the state of 2,000 people with 50 ratings each."""
    draws = np.random.default_rng(seed)
    with open_admin(settings) as admin:
        create_topics(admin, settings)
        ratings = require_topic(admin, settings.topic("ratings"))
    item_ids = [f"i{number}" for number in range(items)]
    _publish_items(settings, item_ids, draws)
    embedded = _release_vectors(settings, item_ids, draws)
    asyncio.run(_apply(settings, ratings.topic_id, _draw_ratings(items, draws), embedded))


def _publish_items(settings: Settings, item_ids: Sequence[str], draws: np.random.Generator) -> None:
    genres = draws.integers(len(GENRES), size=(len(item_ids), 2)).tolist()
    years = draws.integers(FIRST_YEAR, LAST_YEAR + 1, size=len(item_ids)).tolist()
    records: list[list[LoggedRecord]] = [[] for _ in range(PARTITIONS)]
    for item_id, own, year in zip(item_ids, genres, years, strict=True):
        item = Item(item_id=item_id, title=f"Item {item_id}", genres=tuple(GENRES[each] for each in own), year=year)
        _place(records, item_id.encode(), encode(item))
    fill_topic(settings.bootstrap_servers, settings.topic("items"), records)


def _release_vectors(settings: Settings, item_ids: Sequence[str], draws: np.random.Generator) -> EmbeddedItems:
    features = FeatureEncoder(genres=GENRES, years=())
    layer = Layer(draws.normal(size=(DIM, features.size)).astype(np.float32), np.zeros(DIM, np.float32))
    vectors = draws.normal(size=(len(item_ids), DIM)) / np.sqrt(DIM)
    model = EmbeddingModel("pca", tuple(item_ids), vectors, features, (layer,))
    release = save_release(model, f"{settings.model_dir}/{settings.namespace}", settings.embedding)
    publish_release(settings, release)
    hashes = hash_ids(item_ids)
    order = np.argsort(hashes)
    return EmbeddedItems(embedding_id(release), hashes[order], model.vectors[order])


def _draw_ratings(items: int, draws: np.random.Generator) -> list[list[LoggedRecord]]:
    """Return the ratings of each partition; the n-th item is chosen in proportion to 1/n."""
    events = USERS * RATINGS_A_USER
    users = draws.permutation(np.repeat(np.arange(USERS), RATINGS_A_USER)).tolist()
    chosen = np.minimum(items ** draws.random(events), items - 1).astype(np.int64).tolist()
    given = (draws.integers(1, 11, size=events) / 2).tolist()
    records: list[list[LoggedRecord]] = [[] for _ in range(PARTITIONS)]
    for user, item, rating in zip(users, chosen, given, strict=True):
        event = RatingEvent(user_id=f"u{user}", item_id=f"i{item}", rating=rating)
        _place(records, event.user_id.encode(), encode(event))
    return records


def _place(records: list[list[LoggedRecord]], key: bytes, value: bytes) -> None:
    own = records[partition_of(key, PARTITIONS)]
    own.append(LoggedRecord(len(own), value, key))


async def _apply(
    settings: Settings, topic_id: str, records: Sequence[Sequence[LoggedRecord]], embedded: EmbeddedItems
) -> None:
    client = make_async_client(settings)
    writer = StateWriter(client, settings.namespace, settings.shards, settings.rating_scale)
    decoder = RatingDecoder(settings.rating_min, settings.rating_max)
    applier = BatchApplier(writer, decoder, _refuse, lambda: embedded, lambda _: 0)
    for partition, own in enumerate(records):
        claim = await writer.assign(0, topic_id, partition, "latency", 0)
        assert claim is not None
        session = Session.begin(settings.topic("ratings"), topic_id, partition, [claim])
        for start in range(0, len(own), RECORDS_A_BATCH):
            await applier.apply(session, own[start : start + RECORDS_A_BATCH])
    await client.aclose()


async def _refuse(letters: Sequence[DeadLetter]) -> None:
    raise ValueError(f"the log has a bad record: {letters[0]}")


def keep_requests(path: Path, requests: int, seed: int, deadline_ms: int = DEADLINE_MS) -> None:
    """Write so many requests for random people to a file, request ``n`` in partition ``n`` mod 4."""
    users = np.random.default_rng(seed).integers(USERS, size=requests).tolist()
    records: list[list[LoggedRecord]] = [[] for _ in range(PARTITIONS)]
    for number, user in enumerate(users):
        value = f'{{"request_id":"{request_id(number)}","user_id":"u{user}","k":10,"deadline_ms":{deadline_ms}}}'
        own = records[number % PARTITIONS]
        own.append(LoggedRecord(len(own), value.encode(), f"u{user}".encode()))
    keep_records(path, records)


def request_id(number: int) -> str:
    """Return the id of the request with a number.

    >>> request_id(7), number_of(request_id(7))
    ('request-00000007', 7)
    """
    return f"request-{number:08d}"


def number_of(request: str) -> int:
    """Return the number of the request with an id."""
    return int(request[_ID_START:])
