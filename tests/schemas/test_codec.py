"""Bytes to ratings, items, releases and answers, and back."""

import json
import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import (
    RatingDecoder,
    decode_answer,
    decode_item,
    decode_release,
    encode,
    normalise_id,
    quantise,
)
from schemas.errors import EventError
from schemas.events import (
    DEAD_LETTER_REASONS,
    MAX_RATING_BYTES,
    Item,
    ModelRelease,
    RatingEvent,
    Recommendation,
    RecommendationRequest,
    RecommendedItem,
)

DECODER = RatingDecoder(0.5, 5.0)
GOOD = {"user_id": "u", "item_id": "i", "rating": 4.0}


def rating(**fields) -> bytes:
    return json.dumps(GOOD | fields).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


BAD_RATINGS = {
    "null value": (None, "empty_value"),
    "no bytes": (b"", "empty_value"),
    "one byte too many": (rating(pad="x" * (MAX_RATING_BYTES - len(rating(pad="")) + 1)), "too_large"),
    "too large to be looked at": (b"\xff" * (MAX_RATING_BYTES + 1), "too_large"),
    "latin-1": ('{"user_id": "é", "item_id": "i", "rating": 4}'.encode("latin-1"), "not_utf8"),
    "utf-16": (rating().decode().encode("utf-16"), "not_utf8"),
    "bad bytes in an id": (rating()[:-1] + b', "event_id": "\xc0\x80"}', "not_utf8"),
    "bad bytes in a field that is ignored": (rating()[:-1] + b', "comment": "\xff"}', "not_utf8"),
    "bad bytes in a name that is ignored": (rating()[:-1] + b', "\xff": 1}', "not_utf8"),
    "an encoded surrogate in a field that is ignored": (rating()[:-1] + b', "x": "\xed\xa0\x80"}', "not_utf8"),
    "plain text": (b"u,i,4", "not_json"),
    "blank": (b"   ", "not_json"),
    "byte order mark": (b"\xef\xbb\xbf" + rating(), "not_json"),
    "cut short": (rating()[:-1], "not_json"),
    "two objects": (rating() + rating(), "not_json"),
    "single quotes": (b"{'user_id': 'u', 'item_id': 'i', 'rating': 4}", "not_json"),
    "trailing comma": (rating()[:-1] + b",}", "not_json"),
    "control character": (b'{"user_id": "\x01", "item_id": "i", "rating": 4}', "not_json"),
    "number with a leading zero": (b'{"user_id": "u", "item_id": "i", "rating": 04}', "not_json"),
    "deeper than any reader goes": (b"[" * 8000 + b"]" * 8000, "not_json"),
    "deep in a field that is ignored": (rating()[:-1] + b', "x": ' + b"[" * 8000 + b"]" * 8000 + b"}", "not_json"),
    "list": (b"[1, 2, 4]", "wrong_type"),
    "text": (b'"rating"', "wrong_type"),
    "null in json": (b"null", "wrong_type"),
    "number": (b"4", "wrong_type"),
    "empty object": (b"{}", "missing_field"),
    "no user": (without("user_id"), "missing_field"),
    "no item": (without("item_id"), "missing_field"),
    "no rating": (without("rating"), "missing_field"),
    "names in another case": (b'{"User_id": "u", "item_id": "i", "rating": 4}', "missing_field"),
    "null user": (rating(user_id=None), "wrong_type"),
    "fractional user": (rating(user_id=1.5), "wrong_type"),
    "user with a decimal point": (rating(user_id=1.0), "wrong_type"),
    "boolean user": (rating(user_id=True), "wrong_type"),
    "list of users": (rating(user_id=["u"]), "wrong_type"),
    "object for an item": (rating(item_id={"id": "i"}), "wrong_type"),
    "integer id of thousands of digits": (
        b'{"user_id": ' + b"9" * 5000 + b', "item_id": "i", "rating": 4}',
        "wrong_type",
    ),
    "null rating": (rating(rating=None), "wrong_type"),
    "rating as text": (rating(rating="4.0"), "wrong_type"),
    "boolean rating": (rating(rating=True), "wrong_type"),
    "list for a rating": (rating(rating=[4.0]), "wrong_type"),
    "numeric event id with a fraction": (rating(event_id=0.5), "wrong_type"),
    "boolean event id": (rating(event_id=False), "wrong_type"),
    "object for a request id": (rating(request_id={}), "wrong_type"),
    "time as text": (rating(ts_ms="2026-01-01"), "wrong_type"),
    "time with a decimal point": (rating(ts_ms=1.5), "wrong_type"),
    "boolean time": (rating(ts_ms=True), "wrong_type"),
    "time beyond 64 bits": (rating(ts_ms=2**63), "wrong_type"),
    "time below 64 bits": (rating(ts_ms=-(2**63) - 1), "wrong_type"),
    "empty user": (rating(user_id=""), "bad_id"),
    "empty item": (rating(item_id=""), "bad_id"),
    "user of 129 characters": (rating(user_id="u" * 129), "bad_id"),
    "item of 129 characters": (rating(item_id="é" * 129), "bad_id"),
    "integer of 129 digits": (rating(item_id=10**128), "bad_id"),
    "half a character in an id": (rating(user_id="\ud800"), "bad_id"),
    "empty event id": (rating(event_id=""), "bad_id"),
    "event id of 129 characters": (rating(event_id="e" * 129), "bad_id"),
    "empty request id": (rating(request_id=""), "bad_id"),
    "not a number": (rating(rating=math.nan), "rating_not_finite"),
    "infinite": (rating(rating=math.inf), "rating_not_finite"),
    "minus infinite": (rating(rating=-math.inf), "rating_not_finite"),
    "beyond float64": (b'{"user_id": "u", "item_id": "i", "rating": 1e400}', "rating_not_finite"),
    "integer beyond float64": (rating(rating=10**400), "rating_not_finite"),
    "above the scale": (rating(rating=5.0000001), "rating_out_of_range"),
    "below the scale": (rating(rating=0.4999), "rating_out_of_range"),
    "zero": (rating(rating=0), "rating_out_of_range"),
    "minus zero": (rating(rating=-0.0), "rating_out_of_range"),
    "negative": (rating(rating=-4), "rating_out_of_range"),
    "percent": (rating(rating=80), "rating_out_of_range"),
    "so small it is zero": (b'{"user_id": "u", "item_id": "i", "rating": 4e-400}', "rating_out_of_range"),
    "the last of two ratings is bad": (rating()[:-1] + b', "rating": 9}', "rating_out_of_range"),
    "next version": (rating(v=2), "unknown_version"),
    "version 0": (rating(v=0), "unknown_version"),
    "version as text": (rating(v="1"), "unknown_version"),
    "boolean version": (rating(v=True), "unknown_version"),
    "next version with other fields": (b'{"v": 2, "who": "u"}', "unknown_version"),
}


@pytest.mark.parametrize(("value", "reason"), BAD_RATINGS.values(), ids=BAD_RATINGS)
def test_bad_rating_is_refused_with_its_reason(value, reason):
    with pytest.raises(EventError) as refused:
        DECODER.decode(value)
    assert refused.value.reason == reason
    assert len(refused.value.message) > 10


def test_table_of_bad_ratings_shows_every_reason_at_least_once():
    assert len(BAD_RATINGS) >= 40
    assert {reason for _, reason in BAD_RATINGS.values()} == set(DEAD_LETTER_REASONS)


UNUSUAL_RATINGS = {
    "integer ids": (rating(user_id=7, item_id=-3), RatingEvent(user_id="7", item_id="-3", rating=4.0)),
    "integer rating": (rating(rating=4), RatingEvent(user_id="u", item_id="i", rating=4.0)),
    "integer event id": (rating(event_id=9), RatingEvent(user_id="u", item_id="i", rating=4.0, event_id="9")),
    "unknown fields": (rating(device={"os": ["x"]}, user="w"), RatingEvent(user_id="u", item_id="i", rating=4.0)),
    "nulls": (
        rating(event_id=None, ts_ms=None, request_id=None, v=None),
        RatingEvent(user_id="u", item_id="i", rating=4.0),
    ),
    "version with a decimal point": (rating(v=1.0), RatingEvent(user_id="u", item_id="i", rating=4.0)),
    "edges of the scale": (rating(rating=0.5), RatingEvent(user_id="u", item_id="i", rating=0.5)),
    "longest ids": (
        rating(user_id="é" * 128, item_id=10**128 - 1),
        RatingEvent(user_id="é" * 128, item_id="9" * 128, rating=4.0),
    ),
    "edges of 64 bits": (rating(ts_ms=2**63 - 1), RatingEvent(user_id="u", item_id="i", rating=4.0, ts_ms=2**63 - 1)),
    "white space around": (b" \n" + rating() + b"\r\n", RatingEvent(user_id="u", item_id="i", rating=4.0)),
    "exactly the most bytes": (
        rating(pad="x" * (MAX_RATING_BYTES - len(rating(pad="")))),
        RatingEvent(user_id="u", item_id="i", rating=4.0),
    ),
    "half a character in a field that is ignored": (
        rating(comment="\ud800"),
        RatingEvent(user_id="u", item_id="i", rating=4.0),
    ),
    "number of thousands of digits in a field that is ignored": (
        rating()[:-1] + b', "x": ' + b"9" * 5000 + b"}",
        RatingEvent(user_id="u", item_id="i", rating=4.0),
    ),
    "any character in an id": (
        rating(user_id="a\u0000\t\n😀"),
        RatingEvent(user_id="a\u0000\t\n😀", item_id="i", rating=4.0),
    ),
}


@pytest.mark.parametrize(("value", "event"), UNUSUAL_RATINGS.values(), ids=UNUSUAL_RATINGS)
def test_unusual_rating_is_accepted_and_normalised(value, event):
    assert DECODER.decode(value) == event


JSON_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "u" * 129, "\ud800"])
)
JSON_VALUES = st.recursive(
    JSON_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
IDS = st.text(min_size=1, max_size=128).filter(lambda text: text.isprintable())
NEAR_RATINGS = st.fixed_dictionaries(
    {},
    optional={
        "v": st.just(1) | JSON_SCALARS,
        "user_id": IDS | st.integers() | JSON_VALUES,
        "item_id": IDS | st.integers() | JSON_VALUES,
        "rating": st.floats(0, 6) | st.integers(-1, 6) | JSON_VALUES,
        "event_id": IDS | JSON_VALUES,
        "ts_ms": st.integers(-(2**65), 2**65) | JSON_VALUES,
        "request_id": JSON_VALUES,
        "extra": JSON_VALUES,
    },
)


def decode_or_reason(decode, value):
    """Return the event, or the reason for the refusal; any other exception fails the test."""
    try:
        return decode(value)
    except EventError as error:
        reason = error.reason
    assert reason in DEAD_LETTER_REASONS
    return reason


@given(st.binary(max_size=200))
@example(b'{"user_id":"u","item_id":"i","rating":4,"x":' + b"[" * 16_000)
def test_any_bytes_give_an_event_or_a_reason(value):
    decode_or_reason(DECODER.decode, value)


@given(NEAR_RATINGS | JSON_VALUES)
def test_any_json_gives_an_event_within_the_contract_or_a_reason(raw):
    found = decode_or_reason(DECODER.decode, json.dumps(raw).encode())
    if isinstance(found, str):
        return
    assert 0.5 <= found.rating <= 5.0
    for identity in (found.user_id, found.item_id, found.event_id or "e", found.request_id or "r"):
        assert isinstance(identity, str)
        assert 1 <= len(identity) <= 128
        identity.encode()
    assert found.ts_ms is None or -(2**63) <= found.ts_ms < 2**63
    assert DECODER.decode(encode(found)) == found


@st.composite
def damaged_ratings(draw):
    value = bytearray(json.dumps(draw(NEAR_RATINGS)).encode())
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(value) - 1))
        value[place : place + draw(st.integers(0, 1))] = draw(st.binary(max_size=2))
    return bytes(value)


@given(damaged_ratings())
def test_fast_and_slow_path_agree(value):
    assert decode_or_reason(DECODER.decode, value) == decode_or_reason(DECODER._decode_slowly, value)


@pytest.mark.parametrize(("low", "high"), [(5, 5), (5, 0.5), (math.nan, 5), (-300_000, 5), (0.5, math.inf)])
def test_scale_that_is_none_is_refused(low, high):
    with pytest.raises(ValueError, match="rating scale must satisfy"):
        RatingDecoder(low, high)


@pytest.mark.parametrize(("given_rating", "units"), [(3.5, 35_000), (0.00005, 0), (0.00025, 2), (-1.5, -15_000)])
def test_rating_is_quantised_half_to_even(given_rating, units):
    assert quantise(given_rating) == units


@given(st.integers(-(10**127) + 1, 10**128 - 1))
def test_integer_id_becomes_its_digits(number):
    assert normalise_id(number) == str(number)


def test_encoded_rating_has_the_contracts_fields():
    assert json.loads(encode(RatingEvent(user_id="u", item_id="i", rating=4.0))) == {
        "v": 1,
        "user_id": "u",
        "item_id": "i",
        "rating": 4.0,
        "event_id": None,
        "ts_ms": None,
        "request_id": None,
    }


@pytest.mark.parametrize(
    "event",
    [
        RatingEvent(user_id="u", item_id="i", rating=math.nan),
        RecommendationRequest(request_id="r", user_id="u", epsilon=math.inf),
        Recommendation(
            request_id="r",
            user_id="u",
            items=[RecommendedItem(item_id="i", score=-math.inf, propensity=1.0, explored=False)],
        ),
    ],
)
def test_number_that_json_has_no_word_for_is_not_written(event):
    with pytest.raises(ValueError, match="must be finite"):
        encode(event)


def test_item_is_read_with_defaults_for_what_is_null_or_left_out():
    assert decode_item(b'{"item_id": 5, "title": null, "genres": null, "attributes": null, "v": null}') == Item(
        item_id="5"
    )


BAD_ITEMS = {
    "no id": (b'{"title": "t"}', "missing_field"),
    "null id": (b'{"item_id": null}', "wrong_type"),
    "empty id": (b'{"item_id": ""}', "bad_id"),
    "genres as text": (b'{"item_id": "i", "genres": "Drama"}', "wrong_type"),
    "null genre": (b'{"item_id": "i", "genres": [null]}', "wrong_type"),
    "year as text": (b'{"item_id": "i", "year": "1994"}', "wrong_type"),
    "year beyond 64 bits": (b'{"item_id": "i", "year": 99999999999999999999}', "wrong_type"),
    "infinite rating": (b'{"item_id": "i", "rating": 1e999}', "rating_not_finite"),
    "half a character in the title": (b'{"item_id": "i", "title": "\\ud800"}', "wrong_type"),
    "attributes as a list": (b'{"item_id": "i", "attributes": []}', "wrong_type"),
    "next version": (b'{"item_id": "i", "v": 2}', "unknown_version"),
    "list": (b"[]", "wrong_type"),
    "no json": (b"{", "not_json"),
}


@pytest.mark.parametrize(("value", "reason"), BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_bad_item_is_refused_with_its_reason(value, reason):
    with pytest.raises(EventError) as refused:
        decode_item(value)
    assert refused.value.reason == reason


@given(st.binary(max_size=100) | JSON_VALUES.map(lambda raw: json.dumps(raw).encode()))
def test_any_bytes_give_an_item_or_a_reason_and_a_release_or_a_reason(value):
    decode_or_reason(decode_item, value)
    decode_or_reason(decode_release, value)


@given(
    st.fixed_dictionaries(
        {"item_id": IDS},
        optional={
            "title": st.text() | st.none(),
            "genres": st.lists(st.text(max_size=5), max_size=3),
            "year": st.integers(-(2**64), 2**64) | st.none(),
            "rating": st.floats() | st.none(),
            "attributes": st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3),
        },
    )
)
def test_accepted_item_is_the_same_after_a_trip_over_the_bus(raw):
    item = decode_or_reason(decode_item, json.dumps(raw).encode())
    if not isinstance(item, str):
        again = decode_item(encode(item))
        assert (again.item_id, again.title, again.genres, again.year) == (
            item.item_id,
            item.title,
            item.genres,
            item.year,
        )


def test_release_survives_a_trip_over_the_bus():
    release = ModelRelease(name="items", version="1", kind="embedding", uri="s3://b/m", sha256="0" * 64, ts_ms=5)
    assert decode_release(encode(release)) == release
    assert release.label == "items@1"


@pytest.mark.parametrize("lacking", ["name", "version", "kind", "uri", "sha256"])
def test_release_without_a_field_is_refused(lacking):
    fields = {"name": "items", "version": "1", "kind": "embedding", "uri": "u", "sha256": "0", lacking: None}
    with pytest.raises(EventError) as refused:
        decode_release(json.dumps(fields).encode())
    assert refused.value.reason == "missing_field"


def test_answer_survives_a_trip_over_the_bus():
    slot = RecommendedItem(item_id="i", score=3.9, propensity=0.97, explored=False, parts={"bonus": None})
    answer = Recommendation(request_id="r", user_id="u", items=[slot], slate_propensity=0.97, ts_ms=5)
    assert decode_answer(encode(answer)) == answer


def test_bytes_that_are_no_answer_are_refused():
    with pytest.raises(msgspec.MsgspecError):
        decode_answer(b'{"request_id": "r"}')
