"""The ratings of the log that may be learned from."""

import json

import pytest

from schemas.forget import ForgetEvent, encode_forget
from services.admin.bus import produce_all
from services.admin.ratings_log import read_ratings_log

pytestmark = pytest.mark.integration


def publish(settings, *events):
    topic = settings.topic("ratings")
    return produce_all(settings, topic, [(b"same", json.dumps(event).encode()) for event in events])


def rated(user_id, item_id, rating, ts_ms):
    return {"user_id": user_id, "item_id": item_id, "rating": rating, "ts_ms": ts_ms}


def shown(settings):
    return [(event.user_id, event.item_id, event.rating) for event in read_ratings_log(settings)]


def test_valid_ratings_come_in_the_order_of_their_time(topics):
    publish(topics, rated("u", "b", 2.0, 20), {"user_id": "u"}, rated("v", "a", 4.0, 10))
    assert shown(topics) == [("v", "a", 4.0), ("u", "b", 2.0)]


def test_what_a_user_was_forgotten_for_is_not_learned_from_and_what_came_after_is(topics):
    acknowledged = publish(topics, rated("u", "a", 5.0, 1), rated("v", "a", 3.0, 2))
    cut = {acknowledged[-1].partition: acknowledged[-1].offset + 1}
    produce_all(topics, topics.topic("ratings"), [(b"same", encode_forget(ForgetEvent(user_id="u", cut=cut)))])
    publish(topics, rated("u", "b", 4.0, 3))
    assert shown(topics) == [("v", "a", 3.0), ("u", "b", 4.0)]
