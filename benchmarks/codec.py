"""What it costs to decode and validate a rating, beside msgspec's bare typed decode of the same event.

The aim is at most three times, for events with string ids and with integer ids. Bare msgspec cannot read integer ids
into strings, so there the other side decodes into a struct whose ids are integers.

The last pair is an event of a company's own, whose fields lie elsewhere, beside the same rating as the contract has it:
at most three times too.
"""

import json
from collections.abc import Callable

import msgspec

from benchmarks.harness import Side, measure, ratio, read_arguments, report
from schemas.codec import RatingDecoder
from schemas.events import RatingEvent
from schemas.mapping import MappedRatingDecoder

OWN_FIELDS = {"user_id": "payload.user.id", "item_id": "payload.item.id", "rating": "payload.stars", "ts_ms": "at"}


class IntegerIdsEvent(msgspec.Struct, kw_only=True, gc=False):
    """A rating whose ids are integers, without any check."""

    user_id: int
    item_id: int
    rating: float
    event_id: str | None = None
    ts_ms: int | None = None
    request_id: str | None = None
    v: int = 1


def _make_values(count: int, shape: str) -> list[bytes]:
    values = []
    for i in range(count):
        user, item = i % 943 + 1, i % 1682 + 1
        event: dict[str, object] = {"user_id": str(user), "item_id": str(item), "rating": i % 10 / 2 + 0.5}
        if shape == "integer ids":
            event |= {"user_id": user, "item_id": item}
        if shape == "every field":
            event |= {"v": 1, "event_id": f"event-{i}", "ts_ms": 881250949000 + i, "request_id": f"request-{i}"}
        values.append(json.dumps(event).encode())
    return values


def _add_time(value: bytes) -> bytes:
    return json.dumps({**json.loads(value), "ts_ms": 881250949000}).encode()


def _make_own(value: bytes) -> bytes:
    """Return a rating as a company may say it."""
    event = json.loads(value)
    payload = {"user": {"id": event["user_id"]}, "item": {"id": event["item_id"]}, "stars": event["rating"]}
    return json.dumps({"kind": "rated", "at": event["ts_ms"], "payload": payload}).encode()


def _loop(decode: Callable[[bytes], object], values: list[bytes]) -> Callable[[], None]:
    def run() -> None:
        for value in values:
            decode(value)

    return run


def main() -> None:
    """Measure and report."""
    arguments = read_arguments("codec", str(__doc__))
    count = 5_000 if arguments.quick else 50_000
    ours = RatingDecoder(0.5, 5.0).decode
    sides, ratios = [], {}
    for shape in ("three fields", "every field", "integer ids"):
        values = _make_values(count, shape)
        kind = IntegerIdsEvent if shape == "integer ids" else RatingEvent
        sides.append(Side(f"msgspec, {shape}", _loop(msgspec.json.Decoder(kind).decode, values), count))
        sides.append(Side(f"RatingDecoder, {shape}", _loop(ours, values), count))
    plain = [_add_time(value) for value in _make_values(count, "three fields")]
    mapped = MappedRatingDecoder(OWN_FIELDS, 0.5, 5.0).decode
    sides.append(Side("RatingDecoder, four fields", _loop(ours, plain), count))
    sides.append(Side("MappedRatingDecoder, own fields", _loop(mapped, [_make_own(value) for value in plain]), count))
    found = measure(sides)
    for shape in ("three fields", "every field", "integer ids"):
        ratios[f"ours_vs_msgspec, {shape}"] = ratio(found[f"RatingDecoder, {shape}"], found[f"msgspec, {shape}"])
    ratios["mapped_vs_plain"] = ratio(found["MappedRatingDecoder, own fields"], found["RatingDecoder, four fields"])
    report(
        "codec",
        [measurement.row() for measurement in found.values()],
        ratios,
        packages=["msgspec"],
        as_json=arguments.json,
    )


if __name__ == "__main__":
    main()
