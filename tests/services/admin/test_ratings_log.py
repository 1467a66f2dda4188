"""The whole log of ratings, as those who learn from it see it."""

import json

import pytest

from schemas.forget import ForgetEvent, encode_forget
from services.admin.bus import produce_all
from services.admin.ratings_log import read_ratings_log

pytestmark = pytest.mark.integration


def send(settings, *values):
    """Each value under its user's key; returns where it went."""
    records = []
    for value in values:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        records.append((json.loads(data)["user_id"].encode(), data))
    return produce_all(settings, settings.topic("ratings"), records)


def rating(user, item, **more):
    return {"user_id": user, "item_id": item, "rating": 4.0, **more}


def test_ratings_come_in_the_order_of_their_time(topics):
    send(topics, rating("u", "second", ts_ms=7), rating("v", "third"), rating("w", "first", ts_ms=3))
    assert [event.item_id for event in read_ratings_log(topics)] == ["first", "second", "third"]


def test_what_is_no_rating_is_left_out(topics):
    send(topics, rating("u", "a"), {**rating("u", "b"), "rating": 99.0})
    assert [event.item_id for event in read_ratings_log(topics)] == ["a"]


def test_a_forgotten_user_is_not_learned_from_but_for_what_came_later(topics):
    places = send(topics, rating("u", "a"), rating("v", "a"))
    cut = {places[0].partition: places[0].offset + 1}
    send(topics, encode_forget(ForgetEvent(user_id="u", cut=cut)), rating("u", "later"))
    found = {(event.user_id, event.item_id) for event in read_ratings_log(topics)}
    assert found == {("v", "a"), ("u", "later")}
