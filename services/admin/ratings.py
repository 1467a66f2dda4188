"""The log of ratings on the bus, whole, for those who learn from it."""

from typing import Any

import msgspec

from schemas.errors import EventError
from schemas.events import RatingEvent
from schemas.forget import decode_forget
from services.admin.bus import open_admin
from services.admin.history import valid_ratings
from services.admin.log import open_log
from streams.bus.topics import require_topic
from streams.ratings import make_rating_decoder
from streams.settings import Settings


def read_ratings(settings: Settings) -> list[RatingEvent]:
    """Return every rating that counts: those of users who were forgotten since are left out.

    An event without a time of its own has that of its record. The order is that of the partitions.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the broker refused, or stopped to answer.
    """
    topic = settings.topic("ratings")
    with open_admin(settings) as admin:
        require_topic(admin, topic)
    decode = make_rating_decoder(settings).decode
    cuts: dict[tuple[str, int], int] = {}
    rated: list[tuple[int, int, RatingEvent]] = []
    with open_log(settings, topic) as log:
        for record, event in valid_ratings(log.read(), decode, lambda record: _note_cut(cuts, record)):
            timed = event if event.ts_ms is not None else msgspec.structs.replace(event, ts_ms=record.timestamp)
            rated.append((record.partition, record.offset, timed))
    rated.sort(key=lambda each: each[:2])
    return [event for partition, offset, event in rated if offset >= cuts.get((event.user_id, partition), 0)]


def _note_cut(cuts: dict[tuple[str, int], int], record: Any) -> None:
    """Take in where a record that is no rating has a user forgotten, if it does."""
    try:
        event = decode_forget(record.value)
    except EventError:
        return
    if event is None:
        return
    for partition, offset in {**event.cut, record.partition: record.offset + 1}.items():
        place = event.user_id, partition
        cuts[place] = max(offset, cuts.get(place, 0))
