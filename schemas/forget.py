"""The event that has a user forgotten: ``{"type": "forget", "user_id": "u", "cut": {"<partition>": offset}}``."""

from typing import Any

import msgspec

from schemas.errors import EventError
from schemas.events import MAX_RATING_BYTES, VERSION
from schemas.fields import END_INTEGER, check_version, read_id, read_object, shown

MAX_PARTITION = 10**9


class ForgetEvent(msgspec.Struct, kw_only=True, frozen=True, tag_field="type", tag="forget"):
    """Everything a user rated below a cut is to be forgotten.

    Attributes:
        user_id: who.
        cut: by partition of ``ratings``, the offset below which the user's events do not count any more.
    """

    user_id: str
    cut: dict[int, int]
    v: int = VERSION


def decode_forget(value: bytes | None) -> ForgetEvent | None:
    """Return the event; None for a value that is of no or another type.

    Raises:
        EventError: it is one, and breaks the contract; with the dead-letter reason.

    >>> decode_forget(b'{"type": "forget", "user_id": 7, "cut": {"0": 88}}').cut
    {0: 88}
    """
    try:
        fields = read_object(value, MAX_RATING_BYTES)
    except EventError:
        return None
    if fields.get("type") != "forget":
        return None
    check_version(fields)
    for name in ("user_id", "cut"):
        if name not in fields:
            raise EventError("missing_field", f"{name} is required")
    return ForgetEvent(user_id=read_id(fields, "user_id"), cut=_read_cut(fields["cut"]))


def encode_forget(event: ForgetEvent) -> bytes:
    """Return an event as UTF-8 JSON."""
    return msgspec.json.encode(event)


def _read_cut(raw: Any) -> dict[int, int]:
    if not isinstance(raw, dict):
        raise EventError("wrong_type", f"cut must be an object, got {shown(raw)}")
    cut = {}
    for partition, offset in raw.items():
        if not (partition.isascii() and partition.isdecimal() and int(partition[:10]) <= MAX_PARTITION):
            raise EventError("wrong_type", f"cut must name partitions in 0..{MAX_PARTITION}, got {shown(partition)}")
        if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset < END_INTEGER:
            raise EventError("wrong_type", f"cut must have offsets in [0, 2^63), got {shown(offset)}")
        cut[int(partition)] = offset
    return cut
