"""Bytes to events and back: a tolerant reader that refuses what would corrupt state.

The fast path is one typed msgspec decode and four comparisons. Whatever it cannot take goes to the slow path, which
reads the bytes generically, names the one reason for the refusal, or accepts what is merely unusual.
"""

import json
import math
from typing import Any, TypeVar

import msgspec

from schemas.errors import EventError, RequestError
from schemas.events import (
    MAX_ID_LENGTH,
    MAX_K,
    MAX_RATING_BYTES,
    MAX_REQUEST_BYTES,
    VERSION,
    Filters,
    Item,
    ModelRelease,
    Position,
    RatingEvent,
    Recommendation,
    RecommendationRequest,
)

RATING_QUANTUM = 10_000
"""Ratings are kept as integers of 1/10000."""

_MAX_RATING_MAGNITUDE = (2**31 - 1) / RATING_QUANTUM
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


_decode_rating_event = msgspec.json.Decoder(RatingEvent).decode
_decode_answer = msgspec.json.Decoder(Recommendation).decode
_encode = msgspec.json.Encoder().encode


def quantise(rating: float) -> int:
    """Return a rating in units of 1/10000, rounded half to even.

    >>> quantise(3.5), quantise(0.00005), quantise(0.00015)
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

    def decode(self, value: bytes | None) -> RatingEvent:
        """Return the event.

        Raises:
            EventError: with the dead-letter reason.
        """
        if value is None or len(value) > MAX_RATING_BYTES:
            return self._decode_slowly(value)
        try:
            event = _decode_rating_event(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return self._decode_slowly(value)
        if (
            event.v == VERSION
            and self.rating_min <= event.rating <= self.rating_max
            and 0 < len(event.user_id) <= MAX_ID_LENGTH
            and 0 < len(event.item_id) <= MAX_ID_LENGTH
            and (event.event_id is None or 0 < len(event.event_id) <= MAX_ID_LENGTH)
            and (event.request_id is None or 0 < len(event.request_id) <= MAX_ID_LENGTH)
        ):
            return event
        return self._decode_slowly(value)

    def _decode_slowly(self, value: bytes | None) -> RatingEvent:
        fields = _read_object(value, MAX_RATING_BYTES)
        _check_version(fields)
        for name in ("user_id", "item_id", "rating"):
            if name not in fields:
                raise EventError("missing_field", f"{name} is required")
        rating = fields["rating"]
        if isinstance(rating, bool) or not isinstance(rating, int | float):
            raise EventError("wrong_type", f"rating must be a number, got {_shown(rating)}")
        event = RatingEvent(
            user_id=_read_id(fields, "user_id"),
            item_id=_read_id(fields, "item_id"),
            rating=_to_float(rating),
            event_id=_read_optional_id(fields, "event_id"),
            ts_ms=_read_optional_integer(fields, "ts_ms"),
            request_id=_read_optional_id(fields, "request_id"),
        )
        if not math.isfinite(event.rating):
            raise EventError("rating_not_finite", f"rating must be finite, got {event.rating}")
        if not self.rating_min <= event.rating <= self.rating_max:
            raise EventError(
                "rating_out_of_range",
                f"rating must be in [{self.rating_min}, {self.rating_max}], got {event.rating}",
            )
        return event


def decode_request(value: bytes | None) -> RecommendationRequest:
    """Return the request.

    Raises:
        EventError: no request_id or user_id can be read; to be dead-lettered.
        RequestError: any other fault; to be answered.
    """
    fields = _read_object(value, MAX_REQUEST_BYTES)
    for name in ("request_id", "user_id"):
        if name not in fields:
            raise EventError("missing_field", f"{name} is required")
    request_id = _read_id(fields, "request_id")
    user_id = _read_id(fields, "user_id")
    try:
        return _build_request(fields, request_id, user_id)
    except EventError as error:
        code = "invalid_filter" if error.reason == "invalid_filter" else "invalid_request"
        raise RequestError(code, error.message, request_id=request_id, user_id=user_id) from error


def _build_request(fields: dict[str, Any], request_id: str, user_id: str) -> RecommendationRequest:
    _check_version(fields)
    epsilon = fields.get("epsilon")
    if epsilon is not None:
        epsilon = _read_number_in(fields, "epsilon", 0.0, 1.0)
    candidates = fields.get("candidates")
    policy = fields.get("policy")
    if policy is not None and not isinstance(policy, str):
        raise EventError("wrong_type", f"policy must be a string or null, got {_shown(policy)}")
    return RecommendationRequest(
        request_id=request_id,
        user_id=user_id,
        k=_read_integer_in(fields, "k", 10, 1, MAX_K),
        policy=policy,
        epsilon=epsilon,
        candidates=None if candidates is None else _read_ids(fields, "candidates"),
        exclude_seen=_read_flag(fields, "exclude_seen", default=True),
        exclude=_read_ids(fields, "exclude"),
        filters=_read_filters(fields),
        explain=_read_flag(fields, "explain", default=False),
        min_t=_read_optional_integer(fields, "min_t", minimum=0),
        min_position=_read_position(fields),
        deadline_ms=_read_integer_in(fields, "deadline_ms", 5000, 1, 86_400_000),
        ts_ms=_read_optional_integer(fields, "ts_ms"),
    )


def decode_item(value: bytes) -> Item:
    """Return the item of one record of ``items``.

    Raises:
        EventError: the item's fields break the contract.
    """
    fields = _read_object(value, MAX_REQUEST_BYTES)
    _check_version(fields)
    if "item_id" not in fields:
        raise EventError("missing_field", "item_id is required")
    fields["item_id"] = _read_id(fields, "item_id")
    for name, default in (("title", ""), ("genres", []), ("attributes", {})):
        if fields.get(name) is None:
            fields[name] = default
    return _convert(fields, Item)


def decode_release(value: bytes) -> ModelRelease:
    """Return the release of one record of ``models``.

    Raises:
        EventError: the release's fields break the contract.
    """
    fields = _read_object(value, MAX_REQUEST_BYTES)
    _check_version(fields)
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
    return _encode(event)


def normalise_id(raw: object, name: str = "id") -> str:
    """Return an id as the contract writes it: a string of 1 to 128 characters; integers are accepted.

    Raises:
        EventError: ``wrong_type`` or ``bad_id``.

    >>> normalise_id(12)
    '12'
    """
    if isinstance(raw, int) and not isinstance(raw, bool):
        try:
            raw = str(raw)
        except ValueError:
            raise EventError("bad_id", f"{name} must have 1 to 128 characters, got an integer of thousands") from None
    if not isinstance(raw, str):
        raise EventError("wrong_type", f"{name} must be a string or an integer, got {_shown(raw)}")
    if not 0 < len(raw) <= MAX_ID_LENGTH:
        raise EventError("bad_id", f"{name} must have 1 to 128 characters, got {len(raw)}")
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise EventError("bad_id", f"{name} must be valid Unicode, got a lone surrogate in {_shown(raw)}") from None
    return raw


def _read_object(value: bytes | None, limit: int) -> dict[str, Any]:
    if not value:
        raise EventError("empty_value", "a value is required, got none")
    if len(value) > limit:
        raise EventError("too_large", f"at most {limit} bytes are allowed, got {len(value)}")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise EventError("not_utf8", f"the value must be UTF-8, byte {error.start} is not") from None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EventError("not_json", f"the value must be JSON: {error}") from None
    if not isinstance(fields, dict):
        raise EventError("wrong_type", f"the value must be a JSON object, got {_shown(fields)}")
    return fields


def _check_version(fields: dict[str, Any]) -> None:
    version = fields.get("v", VERSION)
    if isinstance(version, bool) or version != VERSION:
        raise EventError("unknown_version", f"v must be {VERSION}, got {_shown(version)}")


def _read_id(fields: dict[str, Any], name: str) -> str:
    return normalise_id(fields[name], name)


def _read_optional_id(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else normalise_id(fields[name], name)


def _read_ids(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    values = fields.get(name, [])
    if not isinstance(values, list):
        raise EventError("wrong_type", f"{name} must be a list of ids, got {_shown(values)}")
    return tuple(normalise_id(value, f"{name}[{i}]") for i, value in enumerate(values))


def _read_optional_integer(fields: dict[str, Any], name: str, minimum: int = -(2**63)) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise EventError("wrong_type", f"{name} must be an integer or null, got {_shown(value)}")
    if not minimum <= value < 2**63:
        raise EventError("wrong_type", f"{name} must be in [{minimum}, 2^63), got {_shown(value)}")
    return value


def _read_integer_in(fields: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise EventError("wrong_type", f"{name} must be an integer in [{low}, {high}], got {_shown(value)}")
    return value


def _read_number_in(fields: dict[str, Any], name: str, low: float, high: float) -> float:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise EventError("wrong_type", f"{name} must be a number in [{low:g}, {high:g}], got {_shown(value)}")
    return float(value)


def _read_flag(fields: dict[str, Any], name: str, *, default: bool) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise EventError("wrong_type", f"{name} must be true or false, got {_shown(value)}")
    return value


def _read_filters(fields: dict[str, Any]) -> Filters:
    raw = fields.get("filters")
    if raw is None:
        return Filters()
    try:
        return msgspec.convert(raw, Filters)
    except msgspec.ValidationError as error:
        raise EventError("invalid_filter", f"filters: {error}") from None


def _read_position(fields: dict[str, Any]) -> Position | None:
    raw = fields.get("min_position")
    if raw is None:
        return None
    try:
        position = msgspec.convert(raw, Position)
    except msgspec.ValidationError as error:
        raise EventError("wrong_type", f"min_position: {error}") from None
    if position.partition < 0 or position.offset < 0:
        raise EventError("wrong_type", f"min_position must have partition >= 0 and offset >= 0, got {_shown(raw)}")
    return position


def _convert(fields: dict[str, Any], kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        reason = "missing_field" if "missing required" in str(error) else "wrong_type"
        raise EventError(reason, str(error)) from None


def _to_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _shown(value: object, limit: int = 60) -> str:
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = "an unprintable value"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
