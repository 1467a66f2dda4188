"""What a second play asks of broker and store: an empty system, and to know what was applied."""

from contextlib import ExitStack

import pytest

from recommender.catalogue import build_catalogue
from schemas.codec import encode
from schemas.errors import ConfigurationError, StreamrecError
from services.loadtest.logical_order import PlayedRating
from services.loadtest.player_bus import PlayerBus
from streams.bus.clients import make_producer
from streams.catalogue import embedded_items
from tests.services.loadtest.recorded import answered, rated
from tests.services.loadtest.test_replay import read_all
from tests.services.scorer.stage import Stage
from tests.waiting import wait_until

pytestmark = pytest.mark.integration
NO_VECTORS = embedded_items(build_catalogue([]))


@pytest.fixture
def bus(topics):
    with ExitStack() as opened:
        yield PlayerBus(topics, opened)


@pytest.fixture
def stage(settings):
    stage = Stage(settings)
    yield stage
    stage.close()


def rating(user_id, value, partition=0, t=1):
    return PlayedRating(value, user_id, partition, 0, t)


def test_system_that_is_empty_is_played_onto(bus):
    bus.refuse_state({"u", "v"})


def test_log_that_is_not_empty_is_refused(topics):
    producer = make_producer(topics)
    producer.send(topics.topic("ratings"), b"{}").get(10)
    producer.close()
    with (
        ExitStack() as opened,
        pytest.raises(ConfigurationError, match="holds 1 records: a record is played again on an"),
    ):
        PlayerBus(topics, opened).refuse_state([])


def test_user_who_is_known_is_refused_by_name(stage):
    stage.rate([("v", "i", 4.0), ("v", "i", 4.0)], NO_VECTORS)
    with ExitStack() as opened:
        bus = PlayerBus(stage.settings, opened)
        bus.refuse_state({"u"})
        with pytest.raises(ConfigurationError, match="user 'v' has 2 ratings already: play on an empty state"):
            bus.refuse_state({"u", "v"})


def test_ratings_go_out_under_their_users_and_bad_ones_with_them(bus, topics):
    bus.rate(rating("u", rated("u")))
    bus.rate(rating("u", b"bad", t=None))
    bus.rate(rating("", b"first of partition 2", partition=2, t=None))
    bus._producer.flush()
    records = read_all(topics, topics.topic("ratings"))
    placed = {record.value: (record.key, record.partition) for record in records}
    assert placed[b"bad"] == placed[rated("u")]
    assert placed[b"bad"][0] == b"u"
    assert placed[b"first of partition 2"] == (None, 2 % topics.partitions)


def test_what_was_sent_is_waited_for_until_it_was_applied(bus, stage):
    bus.wait_until_applied()
    bus.rate(rating("u", rated("u")))
    with pytest.raises(StreamrecError, match=r"was not applied to offset 1 within 0 s: is a worker running"):
        bus.wait_until_applied(timeout_s=0.0)
    for partition in range(stage.ratings.partitions):
        stage.rate([("u", "i", 4.0)], NO_VECTORS, partition)
    bus.wait_until_applied(timeout_s=0.0)


def test_answers_are_heard_from_the_start_of_the_play_on(bus, topics):
    producer = make_producer(topics)
    for value in (b"no answer", b"\xff", encode(answered("r", "u"))):
        producer.send(topics.topic("recommendations"), value, key=b"u").get(10)
    producer.close()
    heard = []
    wait_until(lambda: heard.extend(bus.poll()) or heard)
    assert [answer.request_id for answer in heard] == ["r"]
