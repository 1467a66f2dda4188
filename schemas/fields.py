"""Fields of an untyped JSON object, each read and checked, with the one reason for which it is refused.

A field that is null is one that was left out.
"""

import json
import math
from typing import Any

from schemas.errors import EventError
from schemas.events import MAX_ID_LENGTH, VERSION

MIN_INTEGER, END_INTEGER = -(2**63), 2**63
"""Integers are those of 64 bits: in [MIN_INTEGER, END_INTEGER)."""

_MAX_DIGITS = 4000


def normalise_id(raw: object, name: str = "id") -> str:
    """Return an id as the contract writes it: a string of 1 to 128 characters; integers are accepted.

    Raises:
        EventError: ``wrong_type`` or ``bad_id``.

    >>> normalise_id(12)
    '12'
    """
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)
    if not isinstance(raw, str):
        raise EventError("wrong_type", f"{name} must be a string or an integer, got {shown(raw)}")
    if not 0 < len(raw) <= MAX_ID_LENGTH:
        raise EventError("bad_id", f"{name} must have 1 to 128 characters, got {len(raw)}")
    check_unicode(raw, name)
    return raw


def read_object(value: bytes | None, limit: int) -> dict[str, Any]:
    """Return the JSON object that bytes are.

    Raises:
        EventError: ``empty_value``, ``too_large``, ``not_utf8``, ``not_json`` or ``wrong_type``.
    """
    if not value:
        raise EventError("empty_value", "a value is required, got none")
    if len(value) > limit:
        raise EventError("too_large", f"at most {limit} bytes are allowed, got {len(value)}")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise EventError("not_utf8", f"the value must be UTF-8, byte {error.start} is not") from None
    try:
        fields = json.loads(text, parse_int=_parse_integer)
    except (ValueError, RecursionError) as error:
        raise EventError("not_json", f"the value must be JSON: {error}") from None
    if not isinstance(fields, dict):
        raise EventError("wrong_type", f"the value must be a JSON object, got {shown(fields)}")
    return fields


def check_version(fields: dict[str, Any]) -> None:
    """Refuse another major version than ours.

    Raises:
        EventError: ``unknown_version``.
    """
    version = fields.get("v")
    if version is None:
        return
    if isinstance(version, bool) or version != VERSION:
        raise EventError("unknown_version", f"v must be {VERSION}, got {shown(version)}")


def read_id(fields: dict[str, Any], name: str) -> str:
    """Return a required id; see :func:`normalise_id`."""
    return normalise_id(fields[name], name)


def read_optional_id(fields: dict[str, Any], name: str) -> str | None:
    """Return an id, None where there is none; see :func:`normalise_id`."""
    return None if fields.get(name) is None else normalise_id(fields[name], name)


def read_ids(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    """Return a list of ids, empty where there is none.

    Raises:
        EventError: ``wrong_type`` or ``bad_id``.
    """
    values = fields.get(name)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise EventError("wrong_type", f"{name} must be a list of ids, got {shown(values)}")
    return tuple(normalise_id(value, f"{name}[{i}]") for i, value in enumerate(values))


def read_optional_integer(fields: dict[str, Any], name: str, minimum: int = MIN_INTEGER) -> int | None:
    """Return an integer of at least ``minimum``, None where there is none.

    Raises:
        EventError: ``wrong_type``.
    """
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise EventError("wrong_type", f"{name} must be an integer or null, got {shown(value)}")
    if not minimum <= value < END_INTEGER:
        raise EventError("wrong_type", f"{name} must be in [{minimum}, 2^63), got {shown(value)}")
    return value


def read_integer_in(fields: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    """Return an integer in [low, high], ``default`` where there is none.

    Raises:
        EventError: ``wrong_type``.
    """
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise EventError("wrong_type", f"{name} must be an integer in [{low}, {high}], got {shown(value)}")
    return value


def read_number_in(fields: dict[str, Any], name: str, low: float, high: float) -> float:
    """Return a required number in [low, high].

    Raises:
        EventError: ``wrong_type``.
    """
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise EventError("wrong_type", f"{name} must be a number in [{low:g}, {high:g}], got {shown(value)}")
    return float(value)


def read_flag(fields: dict[str, Any], name: str, *, default: bool) -> bool:
    """Return a truth value, ``default`` where there is none.

    Raises:
        EventError: ``wrong_type``.
    """
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise EventError("wrong_type", f"{name} must be true or false, got {shown(value)}")
    return value


def is_utf8(value: bytes) -> bool:
    """Return whether bytes are UTF-8: a typed decoder does not look into fields that it ignores."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_unicode(text: str, name: str) -> None:
    """Refuse what cannot be written as UTF-8: JSON escapes can name half a character.

    Raises:
        EventError: ``bad_id``.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EventError("bad_id", f"{name} must be valid Unicode, got a lone surrogate in {shown(text)}") from None


def _parse_integer(digits: str) -> int | float:
    """Return a JSON integer; beyond thousands of digits, which only an attacker writes, an infinity."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def to_float(number: float) -> float:
    """Return a number as float64; an integer beyond its range is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def shown(value: object, limit: int = 60) -> str:
    """Return a value as messages show it: as ASCII JSON, cut at ``limit`` characters."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = "an unprintable value"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
