"""What the log says: its valid ratings, and a user's ledger as it was at a moment, by the definition of the fold."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from recommender.hashing import hash_id
from recommender.ledger import LastEvent, Ledger, apply_event
from schemas.codec import quantise
from schemas.errors import EventError
from schemas.events import RatingEvent
from schemas.forget import decode_forget
from services.admin.bus import open_admin
from services.admin.log import open_log
from services.admin.until import Until
from streams.bus.dead_letters import redrive_of
from streams.bus.topics import require_topic
from streams.ratings import make_rating_decoder
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class UserHistory:
    """What the log says of a user.

    Attributes:
        ledger: folded without item vectors, so without a mean, and without what the user was forgotten for by then.
        item_ids: the user's items, by hash.
        truncated: partitions whose first records the broker has removed, and how many; what was in them is missing.
    """

    ledger: Ledger
    item_ids: dict[int, str]
    truncated: dict[int, int]


def valid_ratings(
    records: Iterable[Any],
    decode: Callable[[bytes | None], RatingEvent],
    on_other: Callable[[Any], None] = lambda _: None,
) -> Iterator[tuple[Any, RatingEvent]]:
    """Yield the records that are ratings, with the event; of a dead letter that was redriven twice, the first.

    Args:
        records: of ``ratings``, those of one partition in order.
        decode: the decoder of ratings.
        on_other: told of each record that is no rating.
    """
    redriven: set[bytes] = set()
    for record in records:
        try:
            event = decode(record.value)
        except EventError:
            on_other(record)
            continue
        place = redrive_of(record.headers)
        if place is not None:
            if place in redriven:
                continue
            redriven.add(place)
        yield record, event


def fold_user(settings: Settings, user_id: str, until: Until) -> UserHistory:
    """Return a user's ledger as it was at a moment; the whole log up to there is read.

    Raises:
        ConfigurationError: no broker answers, the topic does not exist, or it lacks the partition named.
        StreamrecError: the broker refused, or stopped to answer.
    """
    topic = settings.topic("ratings")
    with open_admin(settings) as admin:
        number = hash_id(require_topic(admin, topic).topic_id)
    decode = make_rating_decoder(settings).decode
    cut: dict[int, int] = {}
    rated: list[tuple[LastEvent, RatingEvent]] = []
    with open_log(settings, topic) as log:
        until.check(log.ends)
        records = (record for record in log.read(ends=until.ends(log.ends)) if until.includes(record))
        for record, event in valid_ratings(records, decode, lambda record: _note_cut(cut, user_id, record)):
            if event.user_id == user_id:
                rated.append((LastEvent(number, record.partition, record.offset), event))
        kept = [(at, event) for at, event in rated if at.offset >= cut.get(at.partition, 0)]
        return UserHistory(_fold(kept), {hash_id(event.item_id): event.item_id for _, event in kept}, log.truncated)


def _fold(rated: Iterable[tuple[LastEvent, RatingEvent]]) -> Ledger:
    ledger = Ledger.empty(0)
    for at, event in rated:
        ledger = apply_event(
            ledger,
            item=hash_id(event.item_id),
            rating=quantise(event.rating),
            event=hash_id(event.event_id) or 1 if event.event_id is not None else 0,
            at=at,
            x=None,
        )
    return ledger


def _note_cut(cut: dict[int, int], user_id: str, record: Any) -> None:
    """Take in where a record that is no rating has the user forgotten, if it does."""
    try:
        event = decode_forget(record.value)
    except EventError:
        return
    if event is not None and event.user_id == user_id:
        for partition, offset in {**event.cut, record.partition: record.offset + 1}.items():
            cut[partition] = max(offset, cut.get(partition, 0))


def logged_item_ids(settings: Settings) -> set[str]:
    """Return every item id that the log of ratings holds; the whole log is read.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the broker refused, or stopped to answer.
    """
    decode = make_rating_decoder(settings).decode
    with open_log(settings, settings.topic("ratings")) as log:
        return {event.item_id for _, event in valid_ratings(log.read(), decode)}
