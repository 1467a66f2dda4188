"""The active releases as the ``models`` topic has them."""

from collections.abc import Sequence
from typing import Any

from schemas.codec import decode_release, encode
from schemas.errors import EventError
from schemas.events import ModelRelease
from services.admin.bus import open_admin, produce_all
from services.admin.catalogue import READ_TIMEOUT_S, read_compacted
from streams.bus.topics import require_topic
from streams.settings import Settings


def publish_release(settings: Settings, release: ModelRelease) -> None:
    """Make a release the active one of its name.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the broker did not take it; publishing again is safe.
    """
    topic = settings.topic("models")
    with open_admin(settings) as admin:
        require_topic(admin, topic)
    produce_all(settings, topic, [(release.name.encode(), encode(release))])


def read_releases(settings: Settings, timeout_s: float = READ_TIMEOUT_S) -> dict[str, ModelRelease]:
    """Return the active release of each name; records that are no releases are passed over.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the topic was not read to its end in time.
    """
    active: dict[str, ModelRelease] = {}

    def take(records: Sequence[Any]) -> None:
        for record in records:
            if record.value is None:
                active.pop((record.key or b"").decode(errors="replace"), None)
                continue
            try:
                release = decode_release(record.value)
            except EventError:
                continue
            active[release.name] = release

    read_compacted(settings, settings.topic("models"), take, timeout_s)
    return active
