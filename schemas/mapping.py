"""A company's own events as ratings: where in its JSON each field of the contract lies."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import msgspec

from schemas.codec import RatingDecoder
from schemas.events import MAX_RATING_BYTES, VERSION, RatingEvent
from schemas.fields import read_object

RATING_FIELDS = ("user_id", "item_id", "rating", "event_id", "ts_ms", "request_id", "v")

_MISSING = object()
_LEAVES: dict[str, tuple[Any, ...]] = {
    "user_id": (str | int,),
    "item_id": (str | int,),
    "rating": (float,),
    "event_id": (str | None, None),
    "ts_ms": (int | None, None),
    "request_id": (str | None, None),
    "v": (int, VERSION),
}
"""The type of each field and, where it may be left out, its default: those of :class:`~schemas.events.RatingEvent`."""


def parse_fields(text: str) -> dict[str, str]:
    """Return the paths that ``NAME=PATH,NAME=PATH`` says, by the contract's name.

    Raises:
        ValueError: a part is not NAME=PATH, a name is not the contract's or comes twice, or a path has an empty part.

    >>> parse_fields("user_id=payload.user.id, rating=stars")
    {'user_id': 'payload.user.id', 'rating': 'stars'}
    """
    fields: dict[str, str] = {}
    for part in text.split(",") if text.strip() else []:
        name, _, path = (side.strip() for side in part.partition("="))
        if name not in RATING_FIELDS or name in fields or not all(path.split(".")):
            raise ValueError(
                f"rating_fields must be NAME=PATH,NAME=PATH with each NAME once, of {', '.join(RATING_FIELDS)}, and "
                f"PATH as payload.user.id, got {part.strip()!r}"
            )
        fields[name] = path
    return fields


class MappedRatingDecoder(RatingDecoder):
    """Decodes ratings whose fields lie elsewhere, under exactly the checks of :class:`~schemas.codec.RatingDecoder`.

    A field without a path is read under its own name at the top, but for ``v``: without a path, every record is
    of version 1.

    Args:
        fields: dotted path by the contract's name.
        rating_min: the lowest rating allowed.
        rating_max: the highest rating allowed.

    >>> decoder = MappedRatingDecoder({"user_id": "who.id", "rating": "stars"}, 0.5, 5.0)
    >>> decoder.decode(b'{"who": {"id": 7}, "item_id": "a", "stars": 4, "v": "2.0"}').user_id
    '7'
    """

    def __init__(self, fields: Mapping[str, str], rating_min: float, rating_max: float) -> None:
        super().__init__(rating_min, rating_max)
        if unknown := sorted(set(fields) - set(RATING_FIELDS)):
            raise ValueError(f"fields must be of {', '.join(RATING_FIELDS)}, got {', '.join(unknown)}")
        paths = {name: fields.get(name, name) for name in RATING_FIELDS if name != "v" or "v" in fields}
        self._paths = {name: tuple(path.split(".")) for name, path in paths.items()}
        self._decode_event = _make_decoder(self._paths)

    def _read_fields(self, value: bytes | None) -> dict[str, Any]:
        found = read_object(value, MAX_RATING_BYTES)
        values = {name: _look(found, path) for name, path in self._paths.items()}
        return {name: value for name, value in values.items() if value is not _MISSING}


def _make_decoder(paths: Mapping[str, tuple[str, ...]]) -> Callable[[bytes], RatingEvent]:
    """Return the fast path: a typed decode of just the fields that have a path, skipping all others.

    It raises :class:`msgspec.MsgspecError` for what it cannot take, which may be valid all the same.
    """
    places: dict[str, str] = {}
    try:
        kind, _ = _make_struct(paths, places, "")
    except ValueError:
        return _refuse
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode
    pick = attrgetter(*(places[name] for name in RATING_FIELDS[:6]))
    pick_version = attrgetter(places["v"]) if "v" in places else None

    def decode_event(value: bytes) -> RatingEvent:
        found = decode(value)
        try:
            user_id, item_id, rating, event_id, ts_ms, request_id = pick(found)
            version = VERSION if pick_version is None else pick_version(found)
        except AttributeError:  # null where an object with optional fields may be
            raise msgspec.ValidationError("null on a path") from None
        return RatingEvent(
            user_id=user_id,
            item_id=item_id,
            rating=rating,
            event_id=event_id,
            ts_ms=ts_ms,
            request_id=request_id,
            v=version,
        )

    return decode_event


def _make_struct(paths: Mapping[str, tuple[str, ...]], places: dict[str, str], above: str) -> tuple[Any, bool]:
    """Return a struct type of the fields below one object, and whether none is required; note where each lies.

    Raises:
        ValueError: two fields share a path, or one lies within another.
    """
    by_key: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, path in paths.items():
        by_key.setdefault(path[0], {})[name] = path[1:]
    fields: list[Any] = []
    all_optional = True
    for number, below in enumerate(by_key.values()):
        attribute = f"f{number}"
        if () in below.values():
            if len(below) > 1:
                raise ValueError("two fields share a path")
            (name,) = below
            places[name] = above + attribute
            fields.append((attribute, *_LEAVES[name]))
            all_optional &= len(_LEAVES[name]) > 1
            continue
        kind, is_optional = _make_struct(below, places, f"{above}{attribute}.")
        fields.append(
            (attribute, kind | None, msgspec.field(default_factory=kind)) if is_optional else (attribute, kind)
        )
        all_optional &= is_optional
    keys = {f"f{number}": key for number, key in enumerate(by_key)}
    return msgspec.defstruct("Mapped", fields, rename=keys, kw_only=True, gc=False), all_optional


def _refuse(_value: bytes) -> RatingEvent:
    raise msgspec.ValidationError("no fast path")


def _look(found: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(found, dict) or part not in found:
            return _MISSING
        found = found[part]
    return found
