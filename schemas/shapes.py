"""JSON Schema (2020-12) of every event: what a producer may write, and what a consumer can rely on.

Unknown fields are allowed everywhere but in filters, and a field that is null is one that was left out, as the tolerant
reader has it. What a schema refuses, the codec refuses; the codec also refuses what no schema can say (bytes that are
not UTF-8, values that are too large, half a character in an id, ``1.0`` where an integer is meant).
"""

from typing import Any

from schemas.events import (
    DEAD_LETTER_REASONS,
    ERROR_CODES,
    MAX_DEADLINE_MS,
    MAX_ID_LENGTH,
    MAX_K,
    MAX_RATING_BYTES,
    MAX_REQUEST_BYTES,
    VERSION,
)
from schemas.fields import END_INTEGER, MIN_INTEGER

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ID: Schema = {"$ref": "#/$defs/id"}
_ID_DEFINITION: Schema = {
    "description": f"1 to {MAX_ID_LENGTH} characters; an integer stands for its digits",
    "oneOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
        {"type": "integer", "exclusiveMinimum": -(10 ** (MAX_ID_LENGTH - 1)), "exclusiveMaximum": 10**MAX_ID_LENGTH},
    ],
}
_OPTIONAL_ID: Schema = {"anyOf": [_ID, {"type": "null"}], "default": None}
_OPTIONAL_IDS: Schema = {"type": ["array", "null"], "items": _ID}
_TEXT: Schema = {"type": "string"}
_OPTIONAL_TEXT: Schema = {"type": ["string", "null"], "default": None}
_TEXTS: Schema = {"type": ["array", "null"], "items": _TEXT, "default": []}
_VERSION: Schema = {"enum": [VERSION, None], "default": VERSION}
_WRITTEN_VERSION: Schema = {"const": VERSION}
_COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}


def rating_schema(rating_min: float, rating_max: float) -> Schema:
    """Return the schema of a value of ``ratings``, on one rating scale."""
    return _event(
        "rating",
        f"One user's rating of one item. At most {MAX_RATING_BYTES} bytes.",
        {
            "v": _VERSION,
            "user_id": _ID,
            "item_id": _ID,
            "rating": {"type": "number", "minimum": rating_min, "maximum": rating_max},
            "event_id": _OPTIONAL_ID | {"description": "a repeat by the producer has the same one and counts once"},
            "ts_ms": _optional_integer() | {"description": "ms since 1970; the record's timestamp when left out"},
            "request_id": _OPTIONAL_ID | {"description": "the request whose answer showed the item"},
        },
        required=("user_id", "item_id", "rating"),
    )


def request_schema() -> Schema:
    """Return the schema of a value of ``requests``."""
    position = _object({"partition": _integer(0, 2**31 - 1), "offset": _integer(0)}, ("partition", "offset"))
    return _event(
        "request",
        f"A question for recommendations. At most {MAX_REQUEST_BYTES} bytes.",
        {
            "v": _VERSION,
            "request_id": _ID,
            "user_id": _ID,
            "k": _optional_integer(1, MAX_K, default=10),
            "policy": _OPTIONAL_TEXT | {"description": "null: as the scorer routes"},
            "epsilon": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "default": None},
            "candidates": _OPTIONAL_IDS | {"default": None, "description": "null: the whole catalogue"},
            "exclude_seen": {"type": ["boolean", "null"], "default": True},
            "exclude": _OPTIONAL_IDS | {"default": []},
            "filters": _filters(),
            "explain": {"type": ["boolean", "null"], "default": False},
            "min_t": _optional_integer(0) | {"description": "answer only when the user's t has reached it"},
            "min_position": _nullable(position) | {"description": "answer only when this rating is past"},
            "deadline_ms": _optional_integer(1, MAX_DEADLINE_MS, default=5000),
            "ts_ms": _optional_integer() | {"description": "ms since 1970; the record's timestamp when left out"},
        },
        required=("request_id", "user_id"),
    )


def item_schema() -> Schema:
    """Return the schema of a value of ``items``."""
    return _event(
        "item",
        "What a catalogue says of an item. A null value withdraws the item of the key.",
        {
            "v": _VERSION,
            "item_id": _ID,
            "title": {"type": ["string", "null"], "default": ""},
            "genres": _TEXTS,
            "year": _optional_integer(),
            "language": _OPTIONAL_TEXT,
            "rating": {"type": ["number", "null"], "default": None},
            "attributes": {"type": ["object", "null"], "default": {}},
        },
        required=("item_id",),
    )


def model_schema() -> Schema:
    """Return the schema of a value of ``models``."""
    return _event(
        "model",
        "The active release of one model.",
        {
            "v": _VERSION,
            "name": _TEXT,
            "version": _TEXT,
            "kind": {"enum": ["embedding", "policy"]},
            "uri": _TEXT | {"description": "any fsspec URL"},
            "sha256": _TEXT | {"description": "64 hexadecimal digits, of the bytes at uri"},
            "metrics": {"type": ["object", "null"], "additionalProperties": {"type": "number"}, "default": {}},
            "ts_ms": {"type": ["integer", "null"], "default": 0},
        },
        required=("name", "version", "kind", "uri", "sha256"),
    )


def recommendation_schema() -> Schema:
    """Return the schema of a value of ``recommendations``, which has every field."""
    probability = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
    slot = {
        "item_id": _ID,
        "score": {"type": "number"},
        "propensity": {"type": "number", "minimum": 0, "maximum": 1},
        "explored": {"type": "boolean"},
        "parts": {"type": "object"},
    }
    state = {
        "t": _integer(0),
        "partition": _nullable(_integer(0)),
        "offset": _nullable(_integer(0)),
        "applied_to": _COUNTS,
        "statistics_to": _COUNTS,
        "watermark_age_ms": {"type": ["number", "null"], "minimum": 0},
    }
    timing = {"queue_ms": {"type": "number"}, "score_ms": {"type": "number"}}
    error = _object({"code": {"enum": list(ERROR_CODES)}, "message": _TEXT}, ("code", "message"))
    properties = {
        "v": _WRITTEN_VERSION,
        "request_id": _ID,
        "user_id": _ID,
        "policy": {"type": ["string", "null"]},
        "policy_version": {"type": ["string", "null"]},
        "model": {"type": ["string", "null"], "description": "name@version of what was scored with"},
        "items": {"type": "array", "items": _object(slot, tuple(slot)), "maxItems": MAX_K},
        "slate_propensity": probability,
        "propensity_kind": {"enum": ["exact", "counted"]},
        "epsilon": probability,
        "n_candidates": _integer(0),
        "seed": _integer(0),
        "state": _object(state, tuple(state)),
        "timing": _object(timing, tuple(timing)),
        "explanation": {"type": ["object", "null"]},
        "error": _nullable(error),
        "ts_ms": {"type": "integer"},
    }
    return _event(
        "recommendation",
        "The answer to one request, at least one per request: de-duplicate by request_id.",
        properties,
        required=tuple(properties),
    )


def dead_letter_headers_schema() -> Schema:
    """Return the schema of a dead letter's headers; the value is the verbatim bytes of the bad record."""
    number: Schema = {"type": "string", "pattern": "^[0-9]+$"}
    headers = {
        "streamrec-reason": {"enum": list(DEAD_LETTER_REASONS)},
        "streamrec-topic": _TEXT,
        "streamrec-topic-id": _TEXT,
        "streamrec-partition": number,
        "streamrec-offset": number,
        "streamrec-first-seen-ms": number,
        "streamrec-code-version": _TEXT,
        "streamrec-key": _TEXT,
    }
    rest = {
        "streamrec-truncated-length": number | {"description": "length of a value that was cut"},
        "streamrec-sha256": _TEXT | {"description": "SHA-256 of a value that was cut"},
        "streamrec-redrive": _TEXT | {"description": "of a record that had been redriven: its first dead letter"},
    }
    return {
        "$schema": DIALECT,
        "$id": f"urn:streamrec:v{VERSION}:dead-letter-headers",
        "title": "dead-letter headers",
        "description": "Why a record was put aside, and where it came from.",
        **_object(headers | rest, tuple(headers)),
    }


def _event(name: str, description: str, properties: Schema, required: tuple[str, ...]) -> Schema:
    event = {
        "$schema": DIALECT,
        "$id": f"urn:streamrec:v{VERSION}:{name}",
        "title": name,
        "description": description,
        **_object(properties, required),
    }
    if "#/$defs/id" in str(properties):
        event["$defs"] = {"id": _ID_DEFINITION}
    return event


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": True}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _integer(minimum: int, maximum: int = END_INTEGER - 1) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _optional_integer(minimum: int = MIN_INTEGER, maximum: int = END_INTEGER - 1, default: int | None = None) -> Schema:
    return _integer(minimum, maximum) | {"type": ["integer", "null"], "default": default}


def _filters() -> Schema:
    value: Schema = {"type": ["string", "number", "boolean"]}
    genres = dict.fromkeys(("any", "all", "none"), _TEXTS)
    year = {name: {"type": ["integer", "null"], "default": None} for name in ("min", "max")}
    return {
        "type": ["object", "null"],
        "description": "every condition must hold; an unknown key is an error",
        "default": {},
        "properties": {
            "genres": {"type": ["object", "null"], "properties": genres, "additionalProperties": False},
            "year": {"type": ["object", "null"], "properties": year, "additionalProperties": False},
            "attributes": {
                "type": ["object", "null"],
                "additionalProperties": {"anyOf": [value, {"type": "array", "items": value}]},
            },
        },
        "additionalProperties": False,
    }
