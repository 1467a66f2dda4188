"""The ratings of the log that may be learned from: what a user was forgotten for is left out."""

from typing import Any

from schemas.errors import EventError
from schemas.events import RatingEvent
from schemas.forget import decode_forget
from services.admin.history import valid_ratings
from services.admin.log import open_log
from streams.ratings import make_rating_decoder
from streams.settings import Settings


def read_ratings_log(settings: Settings) -> list[RatingEvent]:
    """Return the valid ratings on ``ratings``, in the order of ``ts_ms`` (the record's timestamp where it has none).

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the broker refused, or stopped to answer.
    """
    cuts: dict[str, dict[int, int]] = {}

    def note_forgetting(record: Any) -> None:
        try:
            said = decode_forget(record.value)
        except EventError:
            return
        if said is None:
            return
        cut = cuts.setdefault(said.user_id, {})
        for partition, offset in (*said.cut.items(), (record.partition, record.offset)):
            cut[partition] = max(cut.get(partition, 0), offset)

    with open_log(settings, settings.topic("ratings")) as log:
        found = list(valid_ratings(log.read(), make_rating_decoder(settings).decode, note_forgetting))
    kept = [
        (event.ts_ms if event.ts_ms is not None else record.timestamp, record.partition, record.offset, event)
        for record, event in found
        if record.offset >= cuts.get(event.user_id, {}).get(record.partition, 0)
    ]
    return [event for *_, event in sorted(kept, key=lambda row: row[:3])]
