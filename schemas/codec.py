"""Bytes to events and back: a tolerant reader that refuses what would corrupt state.

The fast path is one typed msgspec decode and four comparisons. Whatever it cannot take goes to the slow path, which
reads the bytes generically, names the one reason for the refusal, or accepts what is merely unusual.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from schemas.errors import EventError
from schemas.events import (
    MAX_ID_LENGTH,
    MAX_RATING_BYTES,
    MAX_REQUEST_BYTES,
    VERSION,
    Item,
    ModelRelease,
    RatingEvent,
    Recommendation,
    RecommendationRequest,
)
from schemas.fields import (
    END_INTEGER,
    MIN_INTEGER,
    check_version,
    is_utf8,
    normalise_id,
    read_id,
    read_object,
    read_optional_id,
    read_optional_integer,
    shown,
    to_float,
)
from schemas.requests import decode_request

__all__ = [
    "RATING_QUANTUM",
    "RatingDecoder",
    "decode_answer",
    "decode_item",
    "decode_release",
    "decode_request",
    "encode",
    "normalise_id",
    "quantise",
]

RATING_QUANTUM = 10_000
"""Ratings are kept as integers of 1/10000."""

_MAX_RATING_MAGNITUDE = (2**31 - 1) / RATING_QUANTUM
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


# Untyped: ids that a producer wrote as integers come out as such, until they are normalised.
_decode_rating_event: Callable[[bytes], Any] = msgspec.json.Decoder(RatingEvent).decode
_decode_answer = msgspec.json.Decoder(Recommendation).decode
_encode = msgspec.json.Encoder().encode


def quantise(rating: float) -> int:
    """Return a rating in units of 1/10000, rounded half to even.

    >>> quantise(3.5), quantise(0.00005), quantise(0.00025)
    (35000, 0, 2)
    """
    return round(rating * RATING_QUANTUM)


class RatingDecoder:
    """Decodes and validates the values of ``ratings`` on one rating scale.

    Args:
        rating_min: the lowest rating allowed.
        rating_max: the highest rating allowed; both within ±214748.

    >>> RatingDecoder(0.5, 5.0).decode(b'{"user_id": 7, "item_id": "a", "rating": 4}').user_id
    '7'
    """

    def __init__(self, rating_min: float, rating_max: float) -> None:
        if not (-_MAX_RATING_MAGNITUDE <= rating_min < rating_max <= _MAX_RATING_MAGNITUDE):
            raise ValueError(
                f"rating scale must satisfy -214748 <= min < max <= 214748, got min {rating_min}, max {rating_max}"
            )
        self.rating_min = rating_min
        self.rating_max = rating_max
        self._decode_event: Callable[[bytes], Any] = _decode_rating_event

    def decode(self, value: bytes | None) -> RatingEvent:
        """Return the event.

        Raises:
            EventError: with the dead-letter reason.
        """
        if value is None or len(value) > MAX_RATING_BYTES:
            return self._decode_slowly(value)
        try:
            event = self._decode_event(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._decode_slowly(value)
        user_id, item_id = event.user_id, event.item_id
        if user_id.__class__ is int:
            event.user_id = user_id = str(user_id)
        if item_id.__class__ is int:
            event.item_id = item_id = str(item_id)
        event_id, request_id, ts_ms = event.event_id, event.request_id, event.ts_ms
        if (
            event.v == VERSION
            and (value.isascii() or is_utf8(value))
            and self.rating_min <= event.rating <= self.rating_max
            and 0 < len(user_id) <= MAX_ID_LENGTH
            and 0 < len(item_id) <= MAX_ID_LENGTH
            and (event_id is None or 0 < len(event_id) <= MAX_ID_LENGTH)
            and (ts_ms is None or MIN_INTEGER <= ts_ms < END_INTEGER)
            and (request_id is None or 0 < len(request_id) <= MAX_ID_LENGTH)
        ):
            return event  # type: ignore[no-any-return]
        return self._decode_slowly(value)

    def _read_fields(self, value: bytes | None) -> dict[str, Any]:
        """Return the fields of a value by the contract's names, unchecked."""
        return read_object(value, MAX_RATING_BYTES)

    def _decode_slowly(self, value: bytes | None) -> RatingEvent:
        fields = self._read_fields(value)
        check_version(fields)
        for name in ("user_id", "item_id", "rating"):
            if name not in fields:
                raise EventError("missing_field", f"{name} is required")
        rating = fields["rating"]
        if isinstance(rating, bool) or not isinstance(rating, int | float):
            raise EventError("wrong_type", f"rating must be a number, got {shown(rating)}")
        event = RatingEvent(
            user_id=read_id(fields, "user_id"),
            item_id=read_id(fields, "item_id"),
            rating=to_float(rating),
            event_id=read_optional_id(fields, "event_id"),
            ts_ms=read_optional_integer(fields, "ts_ms"),
            request_id=read_optional_id(fields, "request_id"),
        )
        if not math.isfinite(event.rating):
            raise EventError("rating_not_finite", f"rating must be finite, got {event.rating}")
        if not self.rating_min <= event.rating <= self.rating_max:
            raise EventError(
                "rating_out_of_range",
                f"rating must be in [{self.rating_min}, {self.rating_max}], got {event.rating}",
            )
        return event


def decode_item(value: bytes) -> Item:
    """Return the item of one record of ``items``.

    Raises:
        EventError: the item's fields break the contract.
    """
    fields = read_object(value, MAX_REQUEST_BYTES)
    check_version(fields)
    if "item_id" not in fields:
        raise EventError("missing_field", "item_id is required")
    fields["item_id"] = read_id(fields, "item_id")
    item = _convert(fields, Item)
    if item.year is not None and not MIN_INTEGER <= item.year < END_INTEGER:
        raise EventError("wrong_type", f"year must be in [-2^63, 2^63), got {shown(item.year)}")
    if item.rating is not None and not math.isfinite(item.rating):
        raise EventError("rating_not_finite", f"rating must be finite, got {item.rating}")
    return item


def decode_release(value: bytes) -> ModelRelease:
    """Return the release of one record of ``models``.

    Raises:
        EventError: the release's fields break the contract.
    """
    fields = read_object(value, MAX_REQUEST_BYTES)
    check_version(fields)
    return _convert(fields, ModelRelease)


def decode_answer(value: bytes) -> Recommendation:
    """Return the answer of one record of ``recommendations``.

    Raises:
        msgspec.MsgspecError: the bytes are no answer.
    """
    return _decode_answer(value)


def encode(event: RatingEvent | RecommendationRequest | Recommendation | Item | ModelRelease) -> bytes:
    """Return an event as UTF-8 JSON.

    Raises:
        ValueError: a number is not finite (JSON has no word for it).
    """
    if isinstance(event, RatingEvent) and not math.isfinite(event.rating):
        raise ValueError(f"rating must be finite, got {event.rating}")
    if isinstance(event, Recommendation):
        for item in event.items:
            if not math.isfinite(item.score):
                raise ValueError(f"score of {item.item_id} must be finite, got {item.score}")
    if isinstance(event, RecommendationRequest) and event.epsilon is not None and not math.isfinite(event.epsilon):
        raise ValueError(f"epsilon must be finite, got {event.epsilon}")
    return _encode(event)


def _convert(fields: dict[str, Any], kind: type[_Struct]) -> _Struct:
    fields["v"] = VERSION
    try:
        value = msgspec.convert({name: value for name, value in fields.items() if value is not None}, kind)
        _encode(value)
    except (msgspec.ValidationError, RecursionError) as error:
        reason = "missing_field" if "missing required" in str(error) else "wrong_type"
        raise EventError(reason, str(error)) from None
    except UnicodeEncodeError:
        raise EventError("wrong_type", "text must be valid Unicode, got a lone surrogate") from None
    return value
