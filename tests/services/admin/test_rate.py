"""One rating onto the log."""

import json

import pytest
from kafka import TopicPartition

from schemas.errors import ConfigurationError, EventError
from services.admin.rate import send_rating
from streams.bus.clients import make_consumer

pytestmark = pytest.mark.integration


def test_rating_lies_where_it_is_said_to_lie(topics):
    place = send_rating(topics, "u", "i", 4.5)
    assert place.topic == topics.topic("ratings")
    assert place.offset == 0
    consumer = make_consumer(topics)
    try:
        tp = TopicPartition(place.topic, place.partition)
        consumer.assign([tp])
        consumer.seek(tp, place.offset)
        records = []
        while not records:
            records = consumer.poll(timeout_ms=500).get(tp, [])
    finally:
        consumer.close()
    assert records[0].key == b"u"
    value = json.loads(records[0].value)
    assert (value["user_id"], value["item_id"], value["rating"], value["ts_ms"]) == ("u", "i", 4.5, None)
    assert value["event_id"], "a repeat by the producer must count once"


@pytest.mark.parametrize(
    ("user", "item", "rating", "reason"),
    [
        ("u", "i", 5.5, "rating_out_of_range"),
        ("", "i", 4, "bad_id"),
        ("u", "i" * 129, 4, "bad_id"),
        ("\udcff", "i", 4, "bad_id"),
    ],
)
def test_rating_against_the_contract_is_not_sent(make_settings, user, item, rating, reason):
    with pytest.raises(EventError, match=reason):
        send_rating(make_settings(bootstrap_servers="nowhere.invalid:1"), user, item, rating)


def test_missing_topic_is_named(settings):
    with pytest.raises(ConfigurationError, match="topics create"):
        send_rating(settings, "u", "i", 4)
