"""The latency benchmark: what is asked, when answers are seen, and how that becomes latencies."""

import doctest
import pickle

import numpy as np
import pytest
from kafka import KafkaProducer

from benchmarks.ingest_sides.log import PARTITIONS, load_records
from benchmarks.latency import Asked, match
from benchmarks.latency_sides import world
from benchmarks.latency_sides.answers import listen, read_answers, whole_batches
from benchmarks.latency_sides.world import keep_requests, make_world, request_id
from schemas.codec import decode_request, encode
from schemas.events import ErrorView, Recommendation
from services.admin.bus import log_ends, open_admin
from streams.bus.topics import create_topics, require_topic
from tests.services.scorer.stage import Stage, running_scorer

NAN = float("nan")


def answer(number, code=None):
    error = ErrorView(code=code, message="") if code else None
    return encode(Recommendation(request_id=request_id(number), user_id="u", error=error))


def test_the_examples_give_what_they_say():
    assert doctest.testmod(world).failed == 0


def test_request_n_is_in_partition_n_mod_4_and_can_be_read(tmp_path):
    keep_requests(tmp_path / "requests", 6, 1)
    kept = load_records(tmp_path / "requests")
    numbers = [[decode_request(record.value).request_id for record in own] for own in kept]
    assert numbers == [[request_id(0), request_id(4)], [request_id(1), request_id(5)], [request_id(2)], [request_id(3)]]
    assert all(decode_request(each.value).user_id == each.key.decode() for own in kept for each in own)


def test_latency_is_from_when_a_request_was_due_and_the_first_second_does_not_count():
    run = Asked(np.array([1.0, 1.9, 2.0, 3.0, 3.5]), np.array([90.0, 90.0, 2.5, 4.0, NAN]), ended=4.0)
    assert run.unanswered == [4]
    assert run.percentile_ms(50) == pytest.approx(500, rel=1e-3)
    assert run.percentile_ms(100) == pytest.approx(1000, rel=1e-3)


def test_the_rate_is_of_what_was_answered_while_more_was_on_offer():
    run = Asked(np.array([1.0, 1.1, 1.2, 1.3, 1.4]), np.array([1.5, 2.5, 3.0, 4.0, 4.5]), ended=4.0)
    assert run.rate == 3 / 2
    assert run.burst_rate == 4 / 3


@pytest.mark.integration
def test_answers_are_heard_in_order_with_repeats_and_errors_told_apart(broker, make_settings, tmp_path):
    settings = make_settings(bootstrap_servers=broker.url, partitions=PARTITIONS)
    with open_admin(settings) as admin:
        create_topics(admin, settings)
        topic = require_topic(admin, settings.topic("recommendations"))
    producer = KafkaProducer(bootstrap_servers=broker.url)
    producer.send(topic.name, partition=1, value=b"before").get(10)
    heard = listen(broker.url, topic.name, [log_ends(settings, topic)[own] for own in range(PARTITIONS)])
    assert next(heard)[1:] == (0, b"")
    said = [(0, 1, None), (1, 0, "internal"), (3, 3, None), (1, 0, None)]
    for partition, number, code in said:
        producer.send(topic.name, partition=partition, value=answer(number, code)).get(10)
    producer.close()
    came = []
    while sum(count for _, count, _ in came) < len(said):
        came.append(next(heard))
    heard.close()
    kept = tmp_path / "answers"
    kept.write_bytes(pickle.dumps([(at_s, records) for at_s, count, records in came if count]))
    assert sorted(each.request_id for _, each in read_answers(kept)) == sorted(request_id(n) for _, n, _ in said)
    arrived, repeats, errors = match(np.zeros(5), kept)
    assert np.isnan(arrived).tolist() == [False, False, True, False, True]
    assert (repeats, dict(errors)) == (1, {"internal": 1})
    assert arrived[1] <= arrived[0] <= arrived[3]


def test_half_a_batch_is_left_for_the_next_fetch():
    assert whole_batches(b"\0" * 60) == (0, 0, 0)
    head = b"\0" * 8 + (100).to_bytes(4, "big") + b"\0" * 100
    assert whole_batches(head[:-1]) == (0, 0, 0)
    assert whole_batches(head)[0] == len(head)


@pytest.mark.integration
def test_a_scorer_answers_the_requests_of_the_world_with_items(tansu_broker, store, make_settings):
    settings = make_settings(bootstrap_servers=tansu_broker.url, redis_url=store.url, session_timeout_s=6)
    make_world(settings, 50)
    stage = Stage(settings)
    try:
        with running_scorer(settings):
            found = stage.exchange(user_id="u7", exclude_seen=False)
    finally:
        stage.close()
    assert (found.error, found.state.t, len(found.items), found.n_candidates) == (None, 50, 10, 50)
    assert found.model is not None
