"""A topic read from start to end, without a group."""

import json
from unittest.mock import patch

import pytest
from kafka import TopicPartition

from schemas.errors import ConfigurationError, StreamrecError
from services.admin import log as module
from services.admin.bus import open_admin, produce_all
from services.admin.history import fold_user
from services.admin.log import open_log
from services.admin.until import Until

pytestmark = pytest.mark.integration


def fill(settings, count):
    values = [json.dumps({"user_id": "u", "item_id": str(i), "rating": 3}).encode() for i in range(count)]
    return produce_all(settings, settings.topic("ratings"), [(b"u", value) for value in values])[0].partition


def test_log_is_read_between_start_and_end_as_asked(topics):
    partition = fill(topics, 10)
    with open_log(topics, topics.topic("ratings")) as log:
        assert (log.starts, log.truncated) == (dict.fromkeys(range(4), 0), {})
        assert log.ends == {**dict.fromkeys(range(4), 0), partition: 10}
        fill(topics, 5)
        for starts, ends, expected in (({}, {}, range(10)), ({partition: 3}, {partition: 6}, range(3, 6))):
            assert [record.offset for record in log.read(starts, ends)] == list(expected)


def test_topic_that_does_not_exist_is_said(topics):
    with pytest.raises(ConfigurationError, match="does not exist"), open_log(topics, "none"):
        pass


def test_broker_that_falls_silent_is_said_in_time(topics):
    fill(topics, 3)
    polls = []

    def poll(_log):
        polls.append({})
        assert len(polls) < 1000, "a broker without an answer is asked for ever"
        return polls[-1]

    with (
        open_log(topics, topics.topic("ratings")) as log,
        patch.object(module, "SILENCE_S", 0.0),
        patch.object(module.Log, "_poll", poll),
        pytest.raises(StreamrecError, match="gave no record"),
    ):
        list(log.read())


@pytest.mark.kafka
def test_log_without_its_first_records_is_said_to_be(kafka_broker, store, make_settings):
    settings = make_settings(bootstrap_servers=kafka_broker.url, redis_url=store.url)
    with open_admin(settings) as admin:
        admin.create_topics({settings.topic("ratings"): {"num_partitions": 4, "replication_factor": 1}})
        admin.wait_for_topics([settings.topic("ratings")])
        partition = fill(settings, 10)
        admin.delete_records({TopicPartition(settings.topic("ratings"), partition): 4})
    history = fold_user(settings, "u", Until(offset=7))
    assert history.truncated == {partition: 4}
    assert (history.ledger.t, sorted(history.item_ids.values())) == (4, ["4", "5", "6", "7"])
