"""Requests: which are read, which are answered with an error, which are dead letters."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.codec import decode_request, encode
from schemas.errors import EventError, RequestError
from schemas.events import (
    DEAD_LETTER_REASONS,
    ERROR_CODES,
    MAX_REQUEST_BYTES,
    ErrorView,
    Filters,
    GenreFilter,
    Position,
    Recommendation,
    RecommendationRequest,
    YearFilter,
)
from schemas.requests import _decode_slowly

GOOD = {"request_id": "r", "user_id": "u"}


def request(**fields) -> bytes:
    return json.dumps(GOOD | fields).encode()


DEAD_REQUESTS = {
    "null value": (None, "empty_value"),
    "no bytes": (b"", "empty_value"),
    "too large": (b" " * (MAX_REQUEST_BYTES + 1), "too_large"),
    "not utf-8": (b'{"request_id": "\xff"}', "not_utf8"),
    "bad bytes in a field that is ignored": (request()[:-1] + b', "x": "\xff"}', "not_utf8"),
    "no json": (b"recommend u", "not_json"),
    "cut short": (request()[:-2], "not_json"),
    "too deep": (b"[" * 100_000, "not_json"),
    "list": (b"[]", "wrong_type"),
    "text": (b'"u"', "wrong_type"),
    "empty object": (b"{}", "missing_field"),
    "no request id": (b'{"user_id": "u"}', "missing_field"),
    "no user": (b'{"request_id": "r"}', "missing_field"),
    "null request id": (request(request_id=None), "wrong_type"),
    "fractional user": (request(user_id=0.5), "wrong_type"),
    "boolean user": (request(user_id=True), "wrong_type"),
    "list of request ids": (request(request_id=["r"]), "wrong_type"),
    "empty request id": (request(request_id=""), "bad_id"),
    "empty user": (request(user_id=""), "bad_id"),
    "user of 129 characters": (request(user_id="u" * 129), "bad_id"),
    "half a character in the request id": (request(request_id="\udfff"), "bad_id"),
}

FAULTY_REQUESTS = {
    "next version": (request(v=2), "invalid_request"),
    "k of zero": (request(k=0), "invalid_request"),
    "negative k": (request(k=-1), "invalid_request"),
    "k of 501": (request(k=501), "invalid_request"),
    "k as text": (request(k="10"), "invalid_request"),
    "k with a decimal point": (request(k=10.0), "invalid_request"),
    "boolean k": (request(k=True), "invalid_request"),
    "k of thousands of digits": (request()[:-1] + b', "k": ' + b"9" * 5000 + b"}", "invalid_request"),
    "policy as a number": (request(policy=1), "invalid_request"),
    "half a character in the policy": (request(policy="\ud800"), "invalid_request"),
    "epsilon above one": (request(epsilon=1.5), "invalid_request"),
    "negative epsilon": (request(epsilon=-0.1), "invalid_request"),
    "epsilon that is no number": (request(epsilon=float("nan")), "invalid_request"),
    "epsilon as text": (request(epsilon="0.1"), "invalid_request"),
    "boolean epsilon": (request(epsilon=True), "invalid_request"),
    "candidates as text": (request(candidates="a,b"), "invalid_request"),
    "null candidate": (request(candidates=["a", None]), "invalid_request"),
    "empty candidate": (request(candidates=[""]), "invalid_request"),
    "exclude as an object": (request(exclude={}), "invalid_request"),
    "exclude of fractions": (request(exclude=[0.5]), "invalid_request"),
    "exclude_seen as text": (request(exclude_seen="yes"), "invalid_request"),
    "exclude_seen as a number": (request(exclude_seen=1), "invalid_request"),
    "explain as a number": (request(explain=0), "invalid_request"),
    "negative min_t": (request(min_t=-1), "invalid_request"),
    "min_t with a fraction": (request(min_t=1.5), "invalid_request"),
    "min_t beyond 64 bits": (request(min_t=2**63), "invalid_request"),
    "position as a number": (request(min_position=88), "invalid_request"),
    "position without an offset": (request(min_position={"partition": 0}), "invalid_request"),
    "negative partition": (request(min_position={"partition": -1, "offset": 0}), "invalid_request"),
    "negative offset": (request(min_position={"partition": 0, "offset": -1}), "invalid_request"),
    "half a character in a position": (request(min_position={"\ud800": 1}), "invalid_request"),
    "offset beyond 64 bits": (request(min_position={"partition": 0, "offset": 2**63}), "invalid_request"),
    "deadline of zero": (request(deadline_ms=0), "invalid_request"),
    "deadline of more than a day": (request(deadline_ms=86_400_001), "invalid_request"),
    "deadline as text": (request(deadline_ms="5 s"), "invalid_request"),
    "time as text": (request(ts_ms="now"), "invalid_request"),
    "filters as a list": (request(filters=[]), "invalid_filter"),
    "unknown filter": (request(filters={"price": {"max": 5}}), "invalid_filter"),
    "unknown genre rule": (request(filters={"genres": {"some": ["Drama"]}}), "invalid_filter"),
    "genres as a list": (request(filters={"genres": ["Drama"]}), "invalid_filter"),
    "genre as text": (request(filters={"genres": {"any": "Drama"}}), "invalid_filter"),
    "null genre": (request(filters={"genres": {"any": [None]}}), "invalid_filter"),
    "year as a number": (request(filters={"year": 1994}), "invalid_filter"),
    "year as text": (request(filters={"year": {"min": "1994"}}), "invalid_filter"),
    "unknown year rule": (request(filters={"year": {"from": 1994}}), "invalid_filter"),
    "attribute that is null": (request(filters={"attributes": {"hd": None}}), "invalid_filter"),
    "attribute that is an object": (request(filters={"attributes": {"hd": {}}}), "invalid_filter"),
    "attributes as a list": (request(filters={"attributes": []}), "invalid_filter"),
    "half a character in an unknown filter": (request(filters={"\ud800": 1}), "invalid_filter"),
}


@pytest.mark.parametrize(("value", "reason"), DEAD_REQUESTS.values(), ids=DEAD_REQUESTS)
def test_request_without_readable_ids_is_a_dead_letter(value, reason):
    with pytest.raises(EventError) as refused:
        decode_request(value)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("value", "code"), FAULTY_REQUESTS.values(), ids=FAULTY_REQUESTS)
def test_any_other_fault_is_answered_with_its_code(value, code):
    with pytest.raises(RequestError) as refused:
        decode_request(value)
    assert (refused.value.code, refused.value.request_id, refused.value.user_id) == (code, "r", "u")
    assert len(refused.value.message) > 10


def test_tables_of_bad_requests_are_long_enough():
    assert len(DEAD_REQUESTS) + len(FAULTY_REQUESTS) >= 40


def test_request_left_to_its_defaults_has_those_of_the_contract():
    assert decode_request(request()) == RecommendationRequest(
        request_id="r",
        user_id="u",
        k=10,
        policy=None,
        epsilon=None,
        candidates=None,
        exclude_seen=True,
        exclude=(),
        filters=Filters(),
        explain=False,
        min_t=None,
        min_position=None,
        deadline_ms=5000,
        ts_ms=None,
    )


@pytest.mark.parametrize(
    "name",
    sorted(set(RecommendationRequest.__struct_fields__) - {"request_id", "user_id"}),
)
def test_null_stands_for_the_default(name):
    assert decode_request(request(**{name: None})) == decode_request(request())


def test_null_in_filters_asks_nothing():
    nulls = {"genres": {"any": None, "none": ["Drama"]}, "year": None, "attributes": None}
    assert decode_request(request(filters=nulls)).filters == Filters(genres=GenreFilter(none=("Drama",)))


def test_request_with_every_field_is_read():
    value = request(
        request_id=1,
        user_id=2,
        k=500,
        policy="ucb",
        epsilon=1,
        candidates=[3, "c"],
        exclude_seen=False,
        exclude=["x"],
        filters={
            "genres": {"any": ["a"], "all": ["b"], "none": ["c"]},
            "year": {"min": 1990},
            "attributes": {"hd": True, "lang": ["en", 5]},
        },
        explain=True,
        min_t=0,
        min_position={"partition": 0, "offset": 88, "topic": "ratings"},
        deadline_ms=86_400_000,
        ts_ms=-5,
    )
    assert decode_request(value) == RecommendationRequest(
        request_id="1",
        user_id="2",
        k=500,
        policy="ucb",
        epsilon=1.0,
        candidates=("3", "c"),
        exclude_seen=False,
        exclude=("x",),
        filters=Filters(
            genres=GenreFilter(any=("a",), all=("b",), none=("c",)),
            year=YearFilter(min=1990),
            attributes={"hd": True, "lang": ("en", 5)},
        ),
        explain=True,
        min_t=0,
        min_position=Position(partition=0, offset=88),
        deadline_ms=86_400_000,
        ts_ms=-5,
    )


def test_no_candidates_is_not_the_whole_catalogue():
    assert decode_request(request(candidates=[])).candidates == ()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("\ud800")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
FILTERS = st.dictionaries(st.sampled_from(["genres", "year", "attributes", "\ud800"]), VALUES, max_size=3)
NEAR_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "request_id": st.just("r") | VALUES,
        "user_id": st.just("u") | VALUES,
        "k": st.integers(0, 501) | VALUES,
        "policy": VALUES,
        "epsilon": st.floats(0, 1) | VALUES,
        "candidates": VALUES,
        "exclude_seen": VALUES,
        "exclude": VALUES,
        "filters": FILTERS | VALUES,
        "min_t": VALUES,
        "min_position": VALUES,
        "deadline_ms": st.integers(1, 10) | VALUES,
        "ts_ms": VALUES,
        "v": st.just(1) | VALUES,
    },
)


def outcome_of(value):
    """Return the request or what it is refused with; any other exception fails the test."""
    try:
        return decode_request(value)
    except (EventError, RequestError) as error:
        return error


@given(st.binary(max_size=100) | (NEAR_REQUESTS | VALUES).map(lambda raw: json.dumps(raw).encode()))
def test_any_bytes_give_a_request_a_dead_letter_or_an_answer_that_can_be_written(value):
    found = outcome_of(value)
    if isinstance(found, RecommendationRequest):
        assert 1 <= found.k <= 500
        assert decode_request(encode(found)).request_id == found.request_id
    elif isinstance(found, EventError):
        assert found.reason in DEAD_LETTER_REASONS
    else:
        assert found.code in ERROR_CODES
        view = ErrorView(code=found.code, message=found.message)
        encode(Recommendation(request_id=found.request_id, user_id=found.user_id, error=view))


IDS = st.one_of(st.text(max_size=3), st.integers(-(2**70), 2**70), st.none(), st.just("x" * 129), st.just("\ud800"))
NUMBERS = st.one_of(st.integers(-2, 501), st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none())
LISTS = st.one_of(st.none(), st.lists(IDS, max_size=3), st.just("a"))
VALUES = {
    "request_id": IDS,
    "user_id": IDS,
    "k": NUMBERS,
    "policy": st.one_of(IDS, st.just("ucb")),
    "epsilon": st.one_of(NUMBERS, st.floats(0, 1)),
    "candidates": LISTS,
    "exclude": LISTS,
    "exclude_seen": st.one_of(st.booleans(), st.none(), st.just(1)),
    "explain": st.one_of(st.booleans(), st.none(), st.just("no")),
    "filters": st.one_of(
        st.none(),
        st.just({}),
        st.fixed_dictionaries(
            {},
            optional={
                "genres": st.one_of(st.none(), st.fixed_dictionaries({}, optional={"any": LISTS, "none": LISTS})),
                "year": st.one_of(st.none(), st.fixed_dictionaries({}, optional={"min": NUMBERS, "max": NUMBERS})),
                "attributes": st.one_of(st.none(), st.dictionaries(st.text(max_size=2), st.one_of(NUMBERS, LISTS))),
                "price": NUMBERS,
            },
        ),
    ),
    "min_t": NUMBERS,
    "min_position": st.one_of(st.none(), st.fixed_dictionaries({"partition": NUMBERS, "offset": NUMBERS})),
    "deadline_ms": NUMBERS,
    "ts_ms": NUMBERS,
    "v": st.sampled_from([1, 1.0, True, None, 2, "1"]),
    "other": st.one_of(NUMBERS, LISTS),
}


def decoded(decode, value):
    try:
        return repr(decode(value))
    except EventError as error:
        return ("dead letter", error.reason, error.message)
    except RequestError as error:
        return ("answered", error.code, error.message, error.request_id, error.user_id)


ODD_FIELDS = st.sets(st.sampled_from(sorted(VALUES)), max_size=2).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
)


@settings(max_examples=1000)
@given(ODD_FIELDS)
@example({"ts_ms": 2**63})
@example({"min_t": 2**63})
@example({"deadline_ms": 0})
@example({"exclude": [""]})
@example({"candidates": ["x" * 129]})
@example({"min_position": {"partition": 2**31, "offset": 0}})
@example({"epsilon": 1.5})
@example({"v": 2})
@example({"filters": {"attributes": {"a": 2**70, "b": [1, 2.5, True, "x"]}}})
def test_the_fast_path_says_of_any_request_what_the_slow_one_says(odd):
    value = json.dumps(GOOD | odd).encode()
    assert decoded(decode_request, value) == decoded(_decode_slowly, value)


def test_a_request_with_every_field_is_read_by_the_fast_path(monkeypatch):
    monkeypatch.setattr("schemas.requests._decode_slowly", None)
    asked = RecommendationRequest(
        **GOOD,
        k=500,
        policy="ucb",
        epsilon=0.5,
        candidates=("a", "b"),
        exclude=("c",),
        filters=Filters(genres=GenreFilter(any=("Drama",)), year=YearFilter(min=1990), attributes={"a": (1, "x")}),
        min_t=3,
        min_position=Position(partition=1, offset=88),
        ts_ms=1,
    )
    assert decode_request(encode(asked)) == asked
    assert decode_request(request(k=3, deadline_ms=100, later={"unknown": ["é"]})).k == 3
