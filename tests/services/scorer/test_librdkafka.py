"""The scorer's clients on librdkafka, on real brokers; what they share with kafka-python's stands in test_service."""

import importlib
import sys

import pytest

from schemas.errors import ConfigurationError, StreamrecError
from services.scorer.intake import Place
from services.scorer.librdkafka import LibrdkafkaInbox, LibrdkafkaOutbox, common_arguments, make_librdkafka_producer
from streams.bus.clients import make_producer
from streams.bus.dead_letters import DeadLetter
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


def take(inbox, count):
    taken = []
    wait_until(lambda: (taken.extend(inbox.poll(0.02)), len(taken) >= count)[1], 20, f"{count} records came")
    return taken


@pytest.mark.integration
def test_each_record_comes_once_in_the_order_of_its_partition_however_often_the_inbox_is_held(inbox, topics):
    produce(topics)
    first = take(inbox, 1)
    assert not [record for _ in range(20) for record in inbox.poll(0.01, is_held=True)]
    records = first + take(inbox, RECORDS - len(first))
    assert sorted(int(record.value) for record in records) == list(range(RECORDS))
    for partition in range(topics.partitions):
        own = [record.offset for record in records if record.partition == partition]
        assert own == sorted(own)


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
def test_an_answer_that_the_broker_refuses_ends_the_scorer(topics):
    outbox = LibrdkafkaOutbox(make_librdkafka_producer(topics), "a", topics.topic("requests.dlq"))
    outbox._send(Place(0, 0, b"u"), topics.topic("recommendations"), b"u", b"x" * 900_000, None)
    with pytest.raises(StreamrecError, match="takes no record"):
        outbox._send(Place(0, 1, b"u"), topics.topic("recommendations"), b"u", b"x" * 2_000_000, None)
    outbox.close(5.0)


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
