"""Mapped ratings, beside plain ones: the same checks wherever the fields lie."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import RatingDecoder
from schemas.errors import EventError
from schemas.mapping import RATING_FIELDS, MappedRatingDecoder, parse_fields

PATHS = {name: f"payload.{name}.at" for name in RATING_FIELDS}
PLAIN = RatingDecoder(0.5, 5.0)
MAPPED = MappedRatingDecoder(PATHS, 0.5, 5.0)


def outcome(decode, value):
    try:
        return decode(value)
    except EventError as error:
        return error.reason, error.message


def nested(fields: dict[str, Any]) -> bytes:
    return json.dumps({"payload": {name: {"at": value} for name, value in fields.items()}}).encode()


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True),
    st.text(max_size=130),
    st.sampled_from(["", "x" * 128, "x" * 129, "\ud800", 1, 1.0, 4, 4.5]),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


@given(st.dictionaries(st.sampled_from(RATING_FIELDS), VALUES))
@example({"user_id": "u", "item_id": "i", "rating": 4})
@example({"user_id": "u", "item_id": "i", "rating": 4, "v": True})
@example({"user_id": "u", "item_id": "i", "rating": 4, "v": 1.0})
@example({"user_id": "u", "item_id": "i", "rating": 4, "event_id": 7})
def test_mapped_event_is_taken_or_refused_as_the_plain_one_is(fields):
    assert outcome(MAPPED.decode, nested(fields)) == outcome(PLAIN.decode, json.dumps(fields).encode())


@given(st.fixed_dictionaries({"user_id": st.text(), "item_id": st.integers(), "rating": st.floats(0, 6)}))
def test_nearly_valid_event_is_taken_or_refused_as_the_plain_one_is(fields):
    assert outcome(MAPPED.decode, nested(fields)) == outcome(PLAIN.decode, json.dumps(fields).encode())


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"rubbish", b"[]", b"3", b'"text"', b"\xff", b"[" * 20_000),
        *(b'{"payload": 1}', b'{"payload": null}', b'{"a":"\xff","payload":{}}'),
        b'{"payload":{}, "x":"' + b"y" * 20_000 + b'"}',
    ],
)
def test_value_without_the_fields_is_refused_as_the_plain_one_is(value):
    assert outcome(MAPPED.decode, value)[0] == outcome(PLAIN.decode, value)[0]


def test_field_without_a_path_lies_under_its_own_name():
    decoder = MappedRatingDecoder({"user_id": "who.id"}, 0.5, 5.0)
    event = decoder.decode(b'{"who": {"id": "u"}, "item_id": 3, "rating": 2, "user_id": "other", "ts_ms": 5}')
    assert (event.user_id, event.item_id, event.rating, event.ts_ms) == ("u", "3", 2.0, 5)


def test_version_of_your_own_is_not_ours_unless_it_has_a_path():
    value = b'{"u": 1, "item_id": 3, "rating": 2, "v": 2}'
    assert MappedRatingDecoder({"user_id": "u"}, 0.5, 5.0).decode(value).v == 1
    with pytest.raises(EventError, match="unknown_version"):
        MappedRatingDecoder({"user_id": "u", "v": "v"}, 0.5, 5.0).decode(value)


@pytest.mark.parametrize(
    "text", ["user_id", "user_id=", "=x", "user=x", "user_id=a,user_id=b", "user_id=a..b", "user_id=.a", ","]
)
def test_mapping_that_is_none_is_refused_with_what_it_was(text):
    with pytest.raises(ValueError, match="rating_fields must be NAME=PATH"):
        parse_fields(text)


def test_field_that_the_contract_has_not_is_refused():
    with pytest.raises(ValueError, match="got user"):
        MappedRatingDecoder({"user": "x"}, 0.5, 5.0)


def test_two_fields_may_share_a_path():
    decoder = MappedRatingDecoder({"event_id": "id", "request_id": "id", "user_id": "u.id", "item_id": "i"}, 0.5, 5.0)
    event = decoder.decode(b'{"u": {"id": "u"}, "i": "i", "rating": 4, "id": "e"}')
    assert (event.event_id, event.request_id) == ("e", "e")


def test_field_within_another_is_missing():
    decoder = MappedRatingDecoder({"user_id": "u", "event_id": "u.id"}, 0.5, 5.0)
    assert decoder.decode(b'{"u": "u", "item_id": "i", "rating": 4}').event_id is None


@pytest.mark.parametrize("meta", ["null", "{}", '{"id": null}', "7"])
def test_optional_field_in_an_object_that_is_not_there_is_left_out(meta):
    decoder = MappedRatingDecoder({"event_id": "meta.id", "ts_ms": "meta.at.ms"}, 0.5, 5.0)
    for tail in (f', "meta": {meta}', ""):
        event = decoder.decode(f'{{"user_id": "u", "item_id": "i", "rating": 4{tail}}}'.encode())
        assert (event.event_id, event.ts_ms) == (None, None)


def test_usual_event_takes_the_fast_path(monkeypatch):
    monkeypatch.setattr(RatingDecoder, "_decode_slowly", None)
    assert MAPPED.decode(nested({"user_id": 7, "item_id": "i", "rating": 4, "ts_ms": 5})).user_id == "7"
