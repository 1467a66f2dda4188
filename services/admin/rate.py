"""One rating, from the command line to the log."""

from dataclasses import dataclass
from uuid import uuid4

from schemas.codec import RatingDecoder, encode, normalise_id
from schemas.errors import ConfigurationError
from schemas.events import RatingEvent
from services.admin.bus import open_admin, produce_all
from streams.bus.topics import require_topic
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lies in the log, as the broker acknowledged it."""

    topic: str
    partition: int
    offset: int


def send_rating(settings: Settings, user_id: str, item_id: str, rating: float) -> Place:
    """Write one rating and return its place, which requests can wait for by ``min_position``.

    It carries an event id of its own, so that a repeat by the producer counts once.

    Raises:
        EventError: an id or the rating breaks the contract; nothing was written.
        ConfigurationError: no broker answers, the topic does not exist, or it is read as your own events.
        StreamrecError: the broker did not acknowledge it.
    """
    refuse_own_events(settings)
    normalise_id(user_id, "user_id")
    normalise_id(item_id, "item_id")
    value = encode(RatingEvent(user_id=user_id, item_id=item_id, rating=rating, event_id=uuid4().hex))
    RatingDecoder(settings.rating_min, settings.rating_max).decode(value)
    topic = settings.topic("ratings")
    with open_admin(settings) as admin:
        require_topic(admin, topic)
    (written,) = produce_all(settings, topic, [(user_id.encode(), value)])
    return Place(written.topic, written.partition, written.offset)


def refuse_own_events(settings: Settings) -> None:
    """Refuse to write ratings of the contract to a topic that is read as your own events: each would be a dead letter.

    Raises:
        ConfigurationError: ``rating_fields`` is set.
    """
    if settings.rating_fields:
        raise ConfigurationError(
            f"the worker reads {settings.topic('ratings')!r} by rating_fields {settings.rating_fields!r}, this "
            "command writes the contract's form: let your own producer write"
        )
