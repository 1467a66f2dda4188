"""Asking over the bus, with an answerer of the tests' own."""

import threading
from contextlib import contextmanager

import pytest
from kafka import TopicPartition

from schemas.codec import decode_request, encode
from schemas.errors import ConfigurationError, StreamrecError
from schemas.events import Recommendation, RecommendationRequest
from services.admin.ask import Asker
from services.admin.bus import produce_all
from streams.bus.clients import make_consumer, make_producer

pytestmark = pytest.mark.integration


@contextmanager
def answering(settings, answers_of):
    """Answer each request with the values that ``answers_of`` gives for it, until the block ends."""
    consumer = make_consumer(settings)
    producer = make_producer(settings)
    stop = threading.Event()
    topic = settings.topic("requests")
    tps = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic)]
    consumer.assign(tps)
    consumer.seek_to_beginning(*tps)

    def work():
        while not stop.is_set():
            for records in consumer.poll(timeout_ms=100).values():
                for record in records:
                    for value in answers_of(decode_request(record.value)):
                        producer.send(settings.topic("recommendations"), key=record.key, value=value)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        producer.close()
        consumer.close()


def request(request_id, user_id="u"):
    return RecommendationRequest(request_id=request_id, user_id=user_id)


def answer(asked, **fields):
    return encode(Recommendation(request_id=asked.request_id, user_id=asked.user_id, **fields))


def test_answer_with_the_requests_id_is_returned(topics):
    rubbish = [b"rubbish", b"\xff", b"{}", answer(request("another"))]
    with answering(topics, lambda asked: [*rubbish, answer(asked, seed=5)]), Asker(topics) as asker:
        found = asker.ask(request("r"))
    assert (found.request_id, found.user_id, found.seed) == ("r", "u", 5)


def test_many_requests_get_an_answer_each_and_repeats_are_dropped(topics):
    requests = [request(f"r{i}", f"u{i % 5}") for i in range(20)]
    with answering(topics, lambda asked: [answer(asked, seed=1), answer(asked, seed=2)]), Asker(topics) as asker:
        found = asker.ask_all(requests)
    assert {one.request_id: one.user_id for one in requests} == {key: value.user_id for key, value in found.items()}
    assert {value.seed for value in found.values()} == {1}


def test_answers_from_before_the_question_are_not_read(topics):
    stale = encode(Recommendation(request_id="r", user_id="u", seed=1))
    produce_all(topics, topics.topic("recommendations"), [(b"u", stale)])
    with answering(topics, lambda asked: [answer(asked, seed=2)]), Asker(topics) as asker:
        assert asker.ask(request("r")).seed == 2


def test_no_answer_in_time_says_what_to_do(topics):
    with (
        Asker(topics) as asker,
        pytest.raises(StreamrecError, match=r"1 of 1 requests within 0\.2 s .*streamrec scorer"),
    ):
        asker.ask(request("r"), timeout_s=0.2)


def test_missing_topics_are_named(settings):
    with pytest.raises(ConfigurationError, match="topics create"):
        Asker(settings)
