"""The newest records of a topic, decoded as a worker would, without a group."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.errors import EventError
from schemas.forget import decode_forget
from services.admin.log import open_log
from streams.ratings import make_rating_decoder
from streams.settings import Settings

_FORGET = EventError("forget", "no rating, and no fault")


@dataclass(frozen=True, slots=True)
class Sampled:
    """One record of a sample, and why it is no rating.

    Attributes:
        partition: where it lies.
        offset: likewise.
        error: None for a rating.
    """

    partition: int
    offset: int
    error: EventError | None


def sample_topic(settings: Settings, topic: str, size: int) -> Iterator[Sampled]:
    """Yield up to ``size`` of the newest records of a topic, as many from each partition that has so many.

    Forget events are passed over.

    Args:
        settings: where the broker is, the rating scale, and where your own events have the fields of ratings.
        topic: any topic of the broker.
        size: how many; fewer where offsets are missing, as after compaction.

    Raises:
        ConfigurationError: no broker answers, or the topic does not exist.
        StreamrecError: the broker refused, or stopped to answer.
    """
    decode = make_rating_decoder(settings).decode
    with open_log(settings, topic) as log:
        lengths = {partition: end - log.starts[partition] for partition, end in log.ends.items()}
        shares = spread(lengths, size)
        starts = {partition: log.ends[partition] - share for partition, share in shares.items()}
        # A partition without a share is read from its end, that is, not at all.
        for record in log.read(starts=starts):
            error = _fault(decode, record.value)
            if error is not _FORGET:
                yield Sampled(record.partition, record.offset, error)


def _fault(decode: Callable[[bytes | None], Any], value: bytes | None) -> EventError | None:
    """Return why a value is no rating, None for one that is."""
    try:
        decode(value)
    except EventError as error:
        try:
            return error if decode_forget(value) is None else _FORGET
        except EventError as fault:
            return fault
    return None


def spread(lengths: dict[int, int], size: int) -> dict[int, int]:
    """Return how many to take of each partition: equal shares, what short ones lack given to longer ones.

    >>> spread({0: 100, 1: 2, 2: 0, 3: 100}, 11)
    {2: 0, 1: 2, 0: 4, 3: 5}
    """
    shares: dict[int, int] = {}
    for place, (partition, length) in enumerate(sorted(lengths.items(), key=lambda pair: pair[1])):
        shares[partition] = min(length, (size - sum(shares.values())) // (len(lengths) - place))
    return shares
