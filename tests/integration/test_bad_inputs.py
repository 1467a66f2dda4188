import json
from dataclasses import dataclass
from hashlib import sha256

import pytest

from schemas.events import DEAD_LETTER_REASONS, ERROR_CODES

pytestmark = pytest.mark.integration

LARGE = 950_000


def rating(**changes):
    return {"user_id": "u", "item_id": "i", "rating": 3.5} | changes


def text(value):
    return json.dumps(value).encode()


def without(value, name):
    return text({key: content for key, content in value.items() if key != name})


BAD_RATINGS = {
    "no value": ("empty_value", None),
    "an empty value": ("empty_value", b""),
    "bytes that are no text": ("not_utf8", b"\xff\xfe\x00"),
    "half a character in an id": ("not_utf8", b'{"user_id":"\xc3","item_id":"i","rating":3}'),
    "half a character in a field that is ignored": ("not_utf8", b'{"user_id":"u","item_id":"i","rating":3,"x":"\xe2"}'),
    "UTF-16": ("not_utf8", '{"user_id":"ü","item_id":"i","rating":3}'.encode("utf-16")),
    "words": ("not_json", b"four stars"),
    "half an object": ("not_json", b'{"user_id":"u","item_id":"i"'),
    "a comma too many": ("not_json", b'{"user_id":"u","item_id":"i","rating":3,}'),
    "two objects": ("not_json", text(rating()) * 2),
    "single quotes": ("not_json", str(rating()).encode()),
    "a byte order mark": ("not_json", b"\xef\xbb\xbf" + text(rating())),
    "a hundred thousand brackets": ("too_large", b"[" * 100_000),
    "ten thousand brackets": ("not_json", b"[" * 10_000),
    "CSV": ("not_json", b"u,i,3.5"),
    "a list": ("wrong_type", b"[]"),
    "a number": ("wrong_type", b"3.5"),
    "a string": ("wrong_type", b'"u"'),
    "null": ("wrong_type", b"null"),
    "a list for a user": ("wrong_type", text(rating(user_id=["u"]))),
    "true for a user": ("wrong_type", text(rating(user_id=True))),
    "null for a user": ("wrong_type", text(rating(user_id=None))),
    "a fraction for a user": ("wrong_type", text(rating(user_id=1.5))),
    "an object for an item": ("wrong_type", text(rating(item_id={"id": "i"}))),
    "text for a rating": ("wrong_type", text(rating(rating="4"))),
    "true for a rating": ("wrong_type", text(rating(rating=True))),
    "null for a rating": ("wrong_type", text(rating(rating=None))),
    "a fraction for an event id": ("wrong_type", text(rating(event_id=0.5))),
    "text for a time": ("wrong_type", text(rating(ts_ms="now"))),
    "a time of 64 bits and one": ("wrong_type", text(rating(ts_ms=2**63))),
    "a list for a request id": ("wrong_type", text(rating(request_id=[]))),
    "no fields": ("missing_field", b"{}"),
    "no user": ("missing_field", without(rating(), "user_id")),
    "no item": ("missing_field", without(rating(), "item_id")),
    "no rating": ("missing_field", without(rating(), "rating")),
    "an empty user": ("bad_id", text(rating(user_id=""))),
    "an empty item": ("bad_id", text(rating(item_id=""))),
    "an item of 129 characters": ("bad_id", text(rating(item_id="i" * 129))),
    "a user of 129 digits": ("bad_id", text(rating(user_id=10**128))),
    "half a surrogate pair": ("bad_id", b'{"user_id":"\\ud800","item_id":"i","rating":3}'),
    "an empty event id": ("bad_id", text(rating(event_id=""))),
    "NaN": ("rating_not_finite", text(rating(rating=float("nan")))),
    "infinity": ("rating_not_finite", text(rating(rating=float("inf")))),
    "minus infinity": ("rating_not_finite", text(rating(rating=float("-inf")))),
    "a rating beyond float64": ("rating_not_finite", b'{"user_id":"u","item_id":"i","rating":1e999}'),
    "an integer beyond float64": ("rating_not_finite", text(rating(rating=10**400))),
    "a rating below the scale": ("rating_out_of_range", text(rating(rating=0.4999))),
    "a rating above the scale": ("rating_out_of_range", text(rating(rating=5.0001))),
    "a negative rating": ("rating_out_of_range", text(rating(rating=-4))),
    "a huge rating": ("rating_out_of_range", text(rating(rating=1e300))),
    "version 2": ("unknown_version", text(rating(v=2))),
    "version one in text": ("unknown_version", text(rating(v="1"))),
    "version true": ("unknown_version", text(rating(v=True))),
    "a byte over 16 KiB": ("too_large", text(rating()).ljust(16 * 1024 + 1)),
    "nearly a megabyte": ("too_large", text(rating()).ljust(LARGE)),
}


def request(**changes):
    return {"request_id": "r", "user_id": "u"} | changes


BAD_REQUESTS = {
    "no value": ("empty_value", None),
    "an empty value": ("empty_value", b""),
    "bytes that are no text": ("not_utf8", b"\x80abc"),
    "words": ("not_json", b"ten films please"),
    "half an object": ("not_json", b'{"request_id":"r",'),
    "NaN alone": ("wrong_type", b"NaN"),
    "a list": ("wrong_type", b'["r","u"]'),
    "no request id": ("missing_field", without(request(), "request_id")),
    "no user": ("missing_field", without(request(), "user_id")),
    "null for a request id": ("wrong_type", text(request(request_id=None))),
    "an object for a user": ("wrong_type", text(request(user_id={}))),
    "an empty request id": ("bad_id", text(request(request_id=""))),
    "a user of 129 characters": ("bad_id", text(request(user_id="u" * 129))),
    "half a surrogate pair": ("bad_id", b'{"request_id":"r","user_id":"\\udfff"}'),
    "a byte over 256 KiB": ("too_large", text(request()).ljust(256 * 1024 + 1)),
    "nearly a megabyte": ("too_large", text(request()).ljust(LARGE)),
}

REFUSED_REQUESTS = {
    "k 0": ("invalid_request", {"k": 0}),
    "k 501": ("invalid_request", {"k": 501}),
    "k in text": ("invalid_request", {"k": "ten"}),
    "k of a half": ("invalid_request", {"k": 0.5}),
    "k true": ("invalid_request", {"k": True}),
    "epsilon 1.5": ("invalid_request", {"epsilon": 1.5}),
    "epsilon NaN": ("invalid_request", {"epsilon": float("nan")}),
    "epsilon in text": ("invalid_request", {"epsilon": "0.1"}),
    "text for candidates": ("invalid_request", {"candidates": "i"}),
    "an empty candidate": ("invalid_request", {"candidates": ["i", ""]}),
    "an object for what to exclude": ("invalid_request", {"exclude": {}}),
    "text for exclude_seen": ("invalid_request", {"exclude_seen": "no"}),
    "a number for explain": ("invalid_request", {"explain": 1}),
    "min_t below 0": ("invalid_request", {"min_t": -1}),
    "a position without an offset": ("invalid_request", {"min_position": {"partition": 0}}),
    "a position in a partition there is not": ("invalid_request", {"min_position": {"partition": 999, "offset": 0}}),
    "an offset below 0": ("invalid_request", {"min_position": {"partition": 0, "offset": -1}}),
    "a list for a position": ("invalid_request", {"min_position": [0, 1]}),
    "no time at all": ("invalid_request", {"deadline_ms": 0}),
    "time without end": ("invalid_request", {"deadline_ms": 10**12}),
    "text for a time": ("invalid_request", {"ts_ms": "now"}),
    "a number for a policy": ("invalid_request", {"policy": 5}),
    "version 2": ("invalid_request", {"v": 2}),
    "a policy nobody knows": ("unknown_policy", {"policy": "best"}),
    "half a surrogate pair for a policy": ("invalid_request", {"policy": "\ud800"}),
    "an unknown filter": ("invalid_filter", {"filters": {"director": "Scott"}}),
    "an unknown genre condition": ("invalid_filter", {"filters": {"genres": {"some": ["Drama"]}}}),
    "text for a year": ("invalid_filter", {"filters": {"year": {"min": "1990"}}}),
    "a list for filters": ("invalid_filter", {"filters": []}),
    "an object for an attribute": ("invalid_filter", {"filters": {"attributes": {"seats": {"min": 2}}}}),
    "a deadline that has passed": ("deadline_exceeded", {"ts_ms": 1_600_000_000_000}),
    "a t that is not reached": ("state_not_reached", {"min_t": 10, "deadline_ms": 100}),
    "a position that is not reached": (
        "state_not_reached",
        {"min_position": {"partition": 0, "offset": 10**9}, "deadline_ms": 100},
    ),
}


@dataclass
class Sent:
    """A bad record, and the good one right behind it in its partition."""

    value: bytes | None
    place: dict
    good: object


@pytest.fixture(scope="module")
def ratings(client):
    """Every bad rating with a good one of a user of its own behind it, all sent before any is asked about.

    Good ones come first, so that the bad ones are too few to open the worker's breaker.
    """
    for _ in range(4 * len(BAD_RATINGS)):
        client.send("ratings", None, text(rating(user_id="before")), partition=1)
    sent = {}
    for number, (kind, (_, value)) in enumerate(BAD_RATINGS.items()):
        place = client.send("ratings", b"the key", value, partition=1)
        good = client.send("ratings", None, text(rating(user_id=f"behind {number}")), partition=1)
        sent[kind] = Sent(value, place, (f"behind {number}", good))
    return sent


def behind(client, number):
    request_id = f"behind {number}"
    client.send("requests", None, text(request(request_id=request_id, deadline_ms=60_000)), partition=2)
    return request_id


@pytest.fixture(scope="module")
def dead_requests(client):
    sent = {}
    for number, (kind, (_, value)) in enumerate(BAD_REQUESTS.items()):
        place = client.send("requests", b"\xffkey", value, partition=2)
        sent[kind] = Sent(value, place, behind(client, f"dead {number}"))
    return sent


@pytest.fixture(scope="module")
def refused_requests(client):
    sent = {}
    for number, (kind, (_, fields)) in enumerate(REFUSED_REQUESTS.items()):
        value = text(request(request_id=f"refused {number}") | fields)
        place = client.send("requests", b"the key", value, partition=2)
        sent[kind] = Sent(value, place, (f"refused {number}", behind(client, f"refused {number}")))
    return sent


def check_letter(client, system, role, sent, reason, key):
    """Assert that a dead letter says what happened, and holds the bytes as they were sent."""
    topic = system.topics[role]
    place = f"{topic.topic_id}/{sent.place['partition']}/{sent.place['offset']}"
    letter = client.letter(f"{role}.dlq", place.encode())
    headers = dict(letter.headers)
    assert len(headers) == len(letter.headers)
    assert headers.pop("streamrec-first-seen-ms").isdigit()
    assert headers.pop("streamrec-code-version")
    value = sent.value or b""
    if len(value) > 900_000:
        assert headers.pop("streamrec-truncated-length") == str(LARGE).encode()
        assert headers.pop("streamrec-sha256") == sha256(value).hexdigest().encode()
        value = value[:900_000]
    assert letter.value == value
    assert headers == {
        "streamrec-reason": reason.encode(),
        "streamrec-topic": topic.name.encode(),
        "streamrec-topic-id": topic.topic_id.encode(),
        "streamrec-partition": str(sent.place["partition"]).encode(),
        "streamrec-offset": str(sent.place["offset"]).encode(),
        "streamrec-key": key,
    }


@pytest.mark.parametrize("kind", BAD_RATINGS)
def test_a_bad_rating_is_dead_lettered_and_the_next_one_applied(system, client, ratings, kind):
    sent = ratings[kind]
    check_letter(client, system, "ratings", sent, BAD_RATINGS[kind][0], b"the key")
    user_id, good = sent.good
    answer = client.ask(user_id, min_position=good)
    assert (answer["error"], answer["state"]["t"]) == (None, 1)


def test_a_bad_rating_under_a_key_of_nearly_a_megabyte_is_dead_lettered_and_the_next_one_applied(system, client):
    place = client.send("ratings", b"k" * LARGE, b"{", partition=1)
    good = client.send("ratings", None, text(rating(user_id="behind the key")), partition=1)
    key = f"{system.topics['ratings'].topic_id}/{place['partition']}/{place['offset']}".encode()
    headers = dict(client.letter("ratings.dlq", key).headers)
    assert headers["streamrec-key"] == b"k" * 16 * 1024
    assert headers["streamrec-key-truncated-length"] == str(LARGE).encode()
    assert client.ask("behind the key", min_position=good)["state"]["t"] == 1


@pytest.mark.parametrize("kind", BAD_REQUESTS)
def test_a_request_that_cannot_be_answered_is_dead_lettered_and_the_next_one_served(
    system, client, dead_requests, kind
):
    sent = dead_requests[kind]
    check_letter(client, system, "requests", sent, BAD_REQUESTS[kind][0], b"\xffkey")
    assert client.answer(sent.good)["error"] is None


@pytest.mark.parametrize("kind", REFUSED_REQUESTS)
def test_a_request_that_asks_for_nonsense_is_answered_with_an_error_and_the_next_one_served(
    client, refused_requests, kind
):
    request_id, good = refused_requests[kind].good
    answer = client.answer(request_id)
    assert answer["error"]["code"] == REFUSED_REQUESTS[kind][0]
    assert answer["error"]["message"]
    assert (answer["items"], answer["user_id"]) == ([], "u")
    assert client.answer_keys[request_id] == b"the key"
    assert client.answer(good)["error"] is None


def test_dead_letters_move_no_users_state(client, ratings):
    answer = client.ask("u", min_position=list(ratings.values())[-1].good[1])
    assert answer["state"]["t"] == 0


def test_every_reason_and_code_that_input_can_cause_is_among_the_kinds():
    reasons = {reason for reason, _ in (*BAD_RATINGS.values(), *BAD_REQUESTS.values())}
    assert reasons == set(DEAD_LETTER_REASONS)
    codes = {code for code, _ in REFUSED_REQUESTS.values()}
    assert codes == set(ERROR_CODES) - {"overloaded", "model_unavailable", "internal"}
