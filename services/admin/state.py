"""A user's state in words and numbers, from the store or from a ledger folded out of the log."""

from collections.abc import Mapping
from typing import Any

import msgspec

from recommender.ledger import EMPTY_EMBEDDING, Ledger, entries
from schemas.codec import RATING_QUANTUM
from schemas.events import ModelRelease
from services.admin.bus import open_admin
from streams.bus.topics import TopicInfo, require_topic
from streams.models.releases import embedding_id
from streams.settings import Settings
from streams.store.keys import topic_hash
from streams.store.reader import StateReader


class RatedItem(msgspec.Struct, kw_only=True, frozen=True):
    """What a user rated, all ratings of one item together; ``item_id`` is None where only the hash is known."""

    item_id: str | None
    item_hash: str
    title: str
    count: int
    last_t: int
    rating_sum: float


class RatedEvent(msgspec.Struct, kw_only=True, frozen=True):
    """One of the newest ratings; ``t`` is how many the user had given before."""

    t: int
    item_id: str | None
    item_hash: str
    title: str
    rating: float


class UserState(msgspec.Struct, kw_only=True, frozen=True):
    """A user as the state has it.

    Attributes:
        t: ratings applied.
        partition: where the newest one lies; None for a user without any.
        offset: likewise.
        is_of_this_topic: whether that is in the topic as it is now; False where it was deleted and made again.
        mean: the mean of rating times item vector as stored.
        mean_is: what that is worth, a sentence.
        entries: every item rated, the newest first.
        newest: the newest ratings the ledger keeps one by one, the newest first.
        truncated: partitions whose first records the log has lost, and how many; only of a state out of the log.
    """

    user_id: str
    t: int
    partition: int | None
    offset: int | None
    is_of_this_topic: bool
    mean: list[float]
    mean_is: str
    entries: list[RatedItem]
    newest: list[RatedEvent]
    truncated: dict[int, int] = {}


def read_ledger(client: Any, settings: Settings, user_id: str) -> tuple[Ledger | None, TopicInfo]:
    """Return a user's ledger, None for one nothing is known of, and the ratings topic.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StoreUnavailable: the store did not answer.
        LedgerError: the ledger cannot be read.
    """
    with open_admin(settings) as admin:
        topic = require_topic(admin, settings.topic("ratings"))
    reader = StateReader(client, settings.namespace, settings.shards, topic.topic_id, topic.partitions)
    return reader.read([user_id]).ledgers[user_id], topic


def describe_ledger(
    user_id: str,
    ledger: Ledger,
    *,
    topic_id: str,
    mean_is: str,
    item_ids: Mapping[int, str],
    titles: Mapping[str, str],
    truncated: Mapping[int, int] | None = None,
) -> UserState:
    """Return a ledger in words and numbers.

    Args:
        user_id: whose it is.
        ledger: the ledger.
        topic_id: id of the ratings topic.
        mean_is: what the mean is worth, see :func:`judge_mean`.
        item_ids: ids by hash, as far as known.
        titles: titles by id, as far as known.
        truncated: partitions of the log without their first records.
    """

    def names(item: int) -> dict[str, Any]:
        item_id = item_ids.get(item)
        return {"item_id": item_id, "item_hash": f"{item:016x}", "title": titles.get(item_id or "", "")}

    rated = [
        RatedItem(**names(item), count=count, last_t=last_t, rating_sum=total / RATING_QUANTUM)
        for item, count, last_t, total in entries(ledger).tolist()
    ]
    first_t = ledger.t - len(ledger.tail)
    newest = [
        RatedEvent(t=first_t + i, **names(item), rating=rating / RATING_QUANTUM)
        for i, (item, rating, _) in enumerate(ledger.tail.tolist())
    ]
    last = ledger.last
    return UserState(
        user_id=user_id,
        t=ledger.t,
        partition=None if last is None else last.partition,
        offset=None if last is None else last.offset,
        is_of_this_topic=last is None or last.topic == topic_hash(topic_id),
        mean=ledger.mean.tolist(),
        mean_is=mean_is,
        entries=sorted(rated, key=lambda entry: -entry.last_t),
        newest=newest[::-1],
        truncated=dict(truncated or {}),
    )


def judge_mean(ledger: Ledger, active: ModelRelease | None) -> str:
    """Return what the stored mean is worth beside the active release of item vectors.

    >>> judge_mean(Ledger.empty(0), None)
    'none: no embedding is active'
    """
    if active is None:
        return "none: no embedding is active"
    if ledger.embedding_id == EMPTY_EMBEDDING:
        return f"none yet: readers compute it with {active.label}"
    if ledger.embedding_id != embedding_id(active):
        return f"of release {ledger.embedding_id.hex()}, not of {active.label}: readers compute it anew"
    if ledger.unembedded:
        return f"of {active.label}, without {ledger.unembedded} ratings of items without a vector: readers compute it"
    return f"of {active.label}, fresh"
