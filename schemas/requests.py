"""Requests for recommendations: bytes to a request, or to what it is refused for.

The fast path is one typed decode and some comparisons. Whatever it cannot take goes to the slow path, which reads the
bytes generically, names the one reason for the refusal, or accepts what is merely unusual.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from schemas.errors import EventError, RequestError
from schemas.events import (
    MAX_DEADLINE_MS,
    MAX_ID_LENGTH,
    MAX_K,
    MAX_REQUEST_BYTES,
    VERSION,
    Filters,
    Position,
    RecommendationRequest,
)
from schemas.fields import (
    END_INTEGER,
    MIN_INTEGER,
    check_unicode,
    check_version,
    is_utf8,
    read_flag,
    read_id,
    read_ids,
    read_integer_in,
    read_number_in,
    read_object,
    read_optional_integer,
    shown,
)

END_PARTITION = 2**31
_decode_typed: Callable[[bytes], RecommendationRequest] = msgspec.json.Decoder(RecommendationRequest).decode


def decode_request(value: bytes | None) -> RecommendationRequest:
    """Return the request.

    Raises:
        EventError: no request_id or user_id can be read; to be dead-lettered.
        RequestError: any other fault; to be answered.
    """
    if value is None or len(value) > MAX_REQUEST_BYTES:
        return _decode_slowly(value)
    try:
        request = _decode_typed(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(value)
    if _is_plain(request) and (value.isascii() or is_utf8(value)):
        return request
    return _decode_slowly(value)


def _is_plain(request: RecommendationRequest) -> bool:
    """Return whether every field is as the contract has it."""
    epsilon, min_t, ts_ms, position = request.epsilon, request.min_t, request.ts_ms, request.min_position
    return (
        request.v == VERSION
        and 0 < len(request.request_id) <= MAX_ID_LENGTH
        and 0 < len(request.user_id) <= MAX_ID_LENGTH
        and 0 < request.k <= MAX_K
        and 0 < request.deadline_ms <= MAX_DEADLINE_MS
        and (epsilon is None or 0.0 <= epsilon <= 1.0)
        and (min_t is None or 0 <= min_t < END_INTEGER)
        and (ts_ms is None or MIN_INTEGER <= ts_ms < END_INTEGER)
        and (position is None or _is_position(position))
        and (not request.candidates or _are_ids(request.candidates))
        and (not request.exclude or _are_ids(request.exclude))
    )


def _is_position(position: Position) -> bool:
    return 0 <= position.partition < END_PARTITION and 0 <= position.offset < END_INTEGER


def _are_ids(values: tuple[str, ...]) -> bool:
    return all(0 < len(value) <= MAX_ID_LENGTH for value in values)


def _decode_slowly(value: bytes | None) -> RecommendationRequest:
    fields = read_object(value, MAX_REQUEST_BYTES)
    for name in ("request_id", "user_id"):
        if name not in fields:
            raise EventError("missing_field", f"{name} is required")
    request_id = read_id(fields, "request_id")
    user_id = read_id(fields, "user_id")
    try:
        return _build_request(fields, request_id, user_id)
    except EventError as error:
        code = "invalid_filter" if error.reason == "invalid_filter" else "invalid_request"
        message = error.message.encode(errors="replace").decode()
        raise RequestError(code, message, request_id=request_id, user_id=user_id) from error


def _build_request(fields: dict[str, Any], request_id: str, user_id: str) -> RecommendationRequest:
    check_version(fields)
    epsilon = fields.get("epsilon")
    if epsilon is not None:
        epsilon = read_number_in(fields, "epsilon", 0.0, 1.0)
    candidates = fields.get("candidates")
    policy = fields.get("policy")
    if policy is not None:
        if not isinstance(policy, str):
            raise EventError("wrong_type", f"policy must be a string or null, got {shown(policy)}")
        check_unicode(policy, "policy")
    return RecommendationRequest(
        request_id=request_id,
        user_id=user_id,
        k=read_integer_in(fields, "k", 10, 1, MAX_K),
        policy=policy,
        epsilon=epsilon,
        candidates=None if candidates is None else read_ids(fields, "candidates"),
        exclude_seen=read_flag(fields, "exclude_seen", default=True),
        exclude=read_ids(fields, "exclude"),
        filters=_read_filters(fields),
        explain=read_flag(fields, "explain", default=False),
        min_t=read_optional_integer(fields, "min_t", minimum=0),
        min_position=_read_position(fields),
        deadline_ms=read_integer_in(fields, "deadline_ms", 5000, 1, MAX_DEADLINE_MS),
        ts_ms=read_optional_integer(fields, "ts_ms"),
    )


_CONDITIONS = {"genres": ("any", "all", "none"), "year": ("min", "max")}


def _read_filters(fields: dict[str, Any]) -> Filters:
    raw = fields.get("filters")
    if raw is None:
        return Filters()
    try:
        return msgspec.convert(_without_nulls(raw), Filters)
    except (msgspec.ValidationError, RecursionError, UnicodeEncodeError) as error:
        raise EventError("invalid_filter", f"filters: {error}") from None


def _read_position(fields: dict[str, Any]) -> Position | None:
    raw = fields.get("min_position")
    if raw is None:
        return None
    try:
        position = msgspec.convert(raw, Position)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise EventError("wrong_type", f"min_position: {error}") from None
    if not _is_position(position):
        raise EventError(
            "wrong_type", f"min_position must have partition in [0, 2^31) and offset in [0, 2^63), got {shown(raw)}"
        )
    return position


def _without_nulls(raw: object) -> object:
    """Return filters without the conditions that are null: like those left out, they ask nothing."""
    if not isinstance(raw, dict):
        return raw
    nested = {name: _drop_nulls(raw[name], known) for name, known in _CONDITIONS.items() if name in raw}
    return _drop_nulls(raw | nested, ("genres", "year", "attributes"))


def _drop_nulls(raw: object, known: tuple[str, ...]) -> object:
    """Return a value without its null fields; of those it should not have, null or not, none goes unnoticed."""
    if not isinstance(raw, dict):
        return raw
    return {name: value for name, value in raw.items() if value is not None or name not in known}
