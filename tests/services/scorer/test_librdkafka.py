"""The scorer's clients on librdkafka, on real brokers; what they share with kafka-python's stands in test_service."""

import importlib
import os
import signal
import sys
import threading

import pytest
from confluent_kafka import KafkaError

from schemas.errors import ConfigurationError, StreamrecError
from schemas.events import Recommendation
from services.runtime.engines import start_broker
from services.scorer.inbox import Inbox
from services.scorer.intake import Place
from services.scorer.librdkafka import LibrdkafkaInbox, LibrdkafkaOutbox
from streams.bus.clients import make_admin, make_producer
from streams.bus.dead_letters import DeadLetter
from streams.bus.librdkafka import common_arguments, make_librdkafka_producer
from streams.bus.topics import create_topics
from streams.settings import Settings
from tests.waiting import wait_until

RECORDS = 40


@pytest.fixture
def inbox(topics):
    inbox = LibrdkafkaInbox(topics)
    yield inbox
    inbox.close({}, 1.0)


def produce(settings):
    producer = make_producer(settings)
    for number in range(RECORDS):
        producer.send(settings.topic("requests"), value=b"%d" % number, partition=number % settings.partitions)
    producer.close(timeout=10)


def take(inbox, count, most=RECORDS):
    taken = []
    wait_until(lambda: (taken.extend(inbox.poll(0.02, most)), len(taken) >= count)[1], 20, f"{count} records came")
    return taken


@pytest.mark.integration
def test_each_record_comes_once_in_the_order_of_its_partition_however_often_the_inbox_is_held(inbox, topics):
    produce(topics)
    first = take(inbox, 1, most=1)
    assert not [record for _ in range(20) for record in inbox.poll(0.01, is_held=True)]
    records = first + take(inbox, RECORDS - len(first))
    assert sorted(int(record.value) for record in records) == list(range(RECORDS))
    for partition in range(topics.partitions):
        own = [record.offset for record in records if record.partition == partition]
        assert own == sorted(own)


@pytest.mark.integration
def test_what_is_assigned_while_the_inbox_is_held_waits_until_it_is_not(inbox, topics):
    produce(topics)
    wait_until(lambda: (inbox.poll(0.02, is_held=True), inbox.is_assigned)[1], 20, "the group has met")
    assert not [record for _ in range(50) for record in inbox.poll(0.02, is_held=True)]
    assert len(take(inbox, RECORDS)) == RECORDS


@pytest.mark.integration
def test_what_was_committed_is_not_read_again_and_the_rest_is(topics):
    produce(topics)
    inbox = LibrdkafkaInbox(topics)
    take(inbox, RECORDS)
    inbox.close({0: 3}, 1.0)
    inbox = LibrdkafkaInbox(topics)
    again = take(inbox, RECORDS - 3)
    inbox.close({}, 1.0)
    assert min(record.offset for record in again if record.partition == 0) == 3
    assert len(again) == RECORDS - 3


@pytest.mark.integration
def test_commits_under_way_end_and_are_not_repeated(inbox, topics):
    produce(topics)
    take(inbox, RECORDS)
    inbox.commit({0: 1})
    wait_until(lambda: (inbox.poll(0.01), inbox._committed == {0: 1})[1], 20, "the commit is acknowledged")
    assert not inbox._changed({0: 1})


@pytest.mark.integration
def test_answers_and_letters_are_acknowledged(topics):
    outbox = LibrdkafkaOutbox(
        make_librdkafka_producer(topics), topics.topic("recommendations"), topics.topic("requests.dlq")
    )
    places = [Place(0, offset, b"u") for offset in range(3)]
    for place in places:
        outbox.send_letter(place, DeadLetter(key=b"k", value=b"v", headers=[("reason", b"not_json")]))
    outbox.flush(10)
    assert outbox.take_acknowledged() == places
    outbox.close(1.0)


@pytest.mark.integration
def test_an_answer_too_large_with_its_requests_key_goes_under_the_users(topics):
    outbox = LibrdkafkaOutbox(make_librdkafka_producer(topics), topics.topic("recommendations"), "letters")
    place = Place(0, 0, b"k" * 1_100_000)
    outbox.send_answer(place, Recommendation(request_id="r", user_id="u"))
    outbox.flush(10)
    assert outbox.take_acknowledged() == [place]
    outbox.close(1.0)


class FakeProducer:
    """librdkafka's queue, full for a while, and a broker that refuses what it takes."""

    def __init__(self, full=0):
        self.full, self.notes = full, []

    def produce(self, *_, on_delivery, **__):
        if self.full:
            raise BufferError
        self.notes.append(on_delivery)

    def poll(self, _):
        self.full = max(0, self.full - 1)


def test_an_answer_that_the_broker_refuses_ends_the_scorer():
    producer = FakeProducer()
    outbox = LibrdkafkaOutbox(producer, "answers", "letters")
    outbox.send_answer(Place(0, 0, b"u"), Recommendation(request_id="r", user_id="u"))
    producer.notes[0](KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), None)
    with pytest.raises(StreamrecError, match=r"could not be produced: .*TOPIC_AUTHORIZATION_FAILED"):
        outbox.take_acknowledged()


def test_a_full_queue_is_waited_for():
    producer, place = FakeProducer(full=3), Place(0, 0, b"u")
    outbox = LibrdkafkaOutbox(producer, "answers", "letters")
    outbox.send_answer(place, Recommendation(request_id="r", user_id="u"))
    producer.notes[0](None, None)
    assert outbox.take_acknowledged() == [place]


@pytest.mark.integration
@pytest.mark.parametrize("kind", [Inbox, LibrdkafkaInbox])
def test_lag_is_what_was_not_taken_and_a_member_has_no_fault(kind, topics):
    produce(topics)
    inbox = kind(topics.model_copy(update={"session_timeout_s": 2}))
    taken = []

    def lag():
        lags = inbox.lag().values()
        return None if not lags or None in lags else sum(lags)

    def take_some():
        taken.extend(inbox.poll(0.1, 5))
        return lag() is not None and len(taken)

    try:
        assert inbox.lag() == {}
        wait_until(take_some, 20, "the first records")
        assert len(taken) + lag() == RECORDS
        wait_until(lambda: (inbox.poll(0.1), lag() == 0)[1], 20, "everything is taken")
        assert inbox.fault() == ""
    finally:
        inbox.close({}, 1.0)


@pytest.mark.integration
@pytest.mark.parametrize("kind", [Inbox, LibrdkafkaInbox])
def test_what_was_taken_and_not_committed_comes_again_when_its_partition_is_revoked_only_to_come_back(kind, topics):
    produce(topics)
    settings = topics.model_copy(update={"session_timeout_s": 2})
    whole = {b"%d" % number for number in range(RECORDS)}
    taken, again = kind(settings), set()
    try:
        take(taken, RECORDS)
        joined = kind(settings)

        def have_met():
            again.update(record.value for inbox in (taken, joined) for record in inbox.poll(0.02))
            return again >= whole

        try:
            wait_until(have_met, 20, "every record came again, whoever has its partition now")
        finally:
            joined.close({}, 1.0)
    finally:
        taken.close({}, 1.0)


@pytest.mark.integration
def test_closing_does_not_wait_for_a_broker_that_is_silent(tmp_path, make_settings):
    with start_broker(tmp_path / "broker") as broker:
        settings = make_settings(bootstrap_servers=broker.url)
        admin = make_admin(settings)
        create_topics(admin, settings)
        admin.close()
        produce(settings)
        inbox = LibrdkafkaInbox(settings)
        take(inbox, RECORDS)
        os.kill(broker.pid, signal.SIGSTOP)
        closing = threading.Thread(target=inbox.close, args=({0: 3}, 1.0), daemon=True)
        closing.start()
        try:
            wait_until(lambda: not closing.is_alive(), 20, "the inbox is closed")
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        closing.join()


def test_the_security_settings_reach_librdkafka():
    settings = Settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="alice",
        kafka_sasl_password="secret",
        kafka_ssl_cafile="ca.pem",
        kafka_ssl_certfile="own.pem",
    )
    assert common_arguments(settings).items() >= {
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "alice"),
        ("sasl.password", "secret"),
        ("ssl.ca.location", "ca.pem"),
        ("ssl.certificate.location", "own.pem"),
        ("ssl.key.location", "own.pem"),
    }


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    monkeypatch.delitem(sys.modules, "services.scorer.librdkafka")
    with pytest.raises(ConfigurationError, match=r"install streamrec\[confluent\], or set kafka-python"):
        importlib.import_module("services.scorer.librdkafka")
