"""What it costs to decode and validate a rating, beside msgspec's bare typed decode of the same event.

The aim is at most three times, for events with string ids and with integer ids. Bare msgspec cannot read integer ids
into strings, so there the other side decodes into a struct whose ids are integers.
"""

import json
from collections.abc import Callable

import msgspec

from benchmarks.harness import Side, measure, ratio, read_arguments, report
from schemas.codec import RatingDecoder
from schemas.events import RatingEvent


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
    found = measure(sides)
    for shape in ("three fields", "every field", "integer ids"):
        ratios[f"ours_vs_msgspec, {shape}"] = ratio(found[f"RatingDecoder, {shape}"], found[f"msgspec, {shape}"])
    report(
        "codec",
        [measurement.row() for measurement in found.values()],
        ratios,
        packages=["msgspec"],
        as_json=arguments.json,
    )


if __name__ == "__main__":
    main()
