"""Generators and collector on a real broker, with answers given by the test: what is answered, wrongly, late or not."""

import threading
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords

from schemas.codec import decode_request, encode
from schemas.events import ErrorView, Recommendation, StateView
from services.loadtest.generator import NOT_ACKNOWLEDGED
from services.loadtest.load import load_of
from services.loadtest.plan import Terms, make_plan
from services.loadtest.records import hand_over
from services.loadtest.report import Correctness, make_report
from services.loadtest.run import run_plan
from services.loadtest.schedule import Pace
from streams.bus.clients import make_consumer, make_producer
from tests.services.loadtest.outcomes import ABOUT, events

pytestmark = pytest.mark.integration

DROPPED, REFUSED, TWICE = "run-r5", "run-r6", "run-r7"
TERMS = Terms(Pace(rate=100.0), probe_share=0.3, warm_up_s=0.0, drain_s=2.0, generators=2)


class Answerer:
    """Answers every request at once but one, one with an error, one twice, and one as if it had not seen its rating.

    In place of the missing answer come one to another's request and one that is none.
    """

    def __init__(self, settings):
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        self.asked = []

    def __enter__(self):
        self._consumer = make_consumer(self._settings)
        topic = self._settings.topic("requests")
        self._consumer.assign([TopicPartition(topic, partition) for partition in range(self._settings.partitions)])
        self._consumer.seek_to_beginning()
        self._producer = make_producer(self._settings, linger_ms=0)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._consumer.close()
        self._producer.close()

    def _answer(self):
        while not self._stop.is_set():
            for records in self._consumer.poll(timeout_ms=20).values():
                for record in records:
                    self._take(decode_request(record.value))

    def _take(self, request):
        self.asked.append(request)
        if request.request_id == DROPPED:
            self._send(b"no answer at all")
            self._send(encode(Recommendation(request_id="other-r5", user_id=request.user_id)))
            return
        answer = Recommendation(request_id=request.request_id, user_id=request.user_id)
        if request.request_id == REFUSED:
            answer.error = ErrorView(code="overloaded", message="")
        position = request.min_position
        if position is not None:
            is_first = sum(each.min_position is not None for each in self.asked) == 1
            answer.state = StateView(applied_to={str(position.partition): position.offset + (not is_first)})
        for _ in range(2 if request.request_id == TWICE else 1):
            self._send(encode(answer))

    def _send(self, value):
        self._producer.send(self._settings.topic("recommendations"), value=value)


class Kept:
    """A recorder in memory."""

    def __init__(self):
        self.ratings, self.requests, self.answers = [], [], []

    def rating(self, *arguments):
        self.ratings.append(arguments)

    def request(self, *arguments):
        self.requests.append(arguments)

    def answer(self, *arguments):
        self.answers.append(arguments)


@pytest.fixture
def writers(monkeypatch):
    """By partition, the producers whose batches this process's consumers fetch; records do not tell."""
    producers = defaultdict(set)
    unpack = Fetcher.PartitionRecords._unpack_records

    def note(fetched, tp, records, *rest):
        batches = MemoryRecords(records._buffer)
        while batches.has_next():
            producers[tp].add(batches.next_batch().producer_id)
        return unpack(fetched, tp, records, *rest)

    monkeypatch.setattr(Fetcher.PartitionRecords, "_unpack_records", note)
    return producers


@pytest.fixture
def run(topics, tmp_path, writers):
    plan = make_plan("run", load_of("made by hand", events(100)), TERMS, tmp_path)
    with Answerer(topics) as answerer:
        outcome = run_plan(topics, plan, tmp_path, keeps_answers=True)
    return plan, outcome, answerer


def test_what_was_sent_and_answered_is_known_of_every_record(run, topics, writers):
    plan, outcome, answerer = run
    report = make_report(outcome, Correctness(), ABOUT)
    assert report["unanswered"] == [DROPPED]
    assert report["errors"] == {"answers": {"overloaded": 1}, "sends": {}}
    assert report["counts"]["repeated_answers"] == 1
    first_probe = next(each.request_id for each in answerer.asked if each.min_position is not None)
    assert [f"run-p{number}" for number in outcome.unproven] == [first_probe]
    answered = outcome.answered_s[~np.isnan(outcome.answered_s)]
    assert len(answered) == 99
    assert (answered > plan.request_due[~np.isnan(outcome.answered_s)]).all()
    _look_at_the_log(plan, outcome, topics)
    _look_at_the_record(plan, outcome, answerer)
    _look_at_the_writers(writers, topics)


def _look_at_the_writers(writers, topics):
    """One producer wrote each partition: Tansu hides records from a live reader where several do."""
    for role, count in (("ratings", TERMS.generators), ("requests", 1)):
        producers = [by for tp, by in writers.items() if tp.topic == topics.topic(role)]
        assert {len(by) for by in producers} == {1}
        assert len(set.union(*producers)) == count


def _look_at_the_log(plan, outcome, topics):
    """Every rating lies where the broker said, and each user's are in order, though two processes sent them."""
    log = {}
    consumer = make_consumer(topics)
    consumer.assign([TopicPartition(topics.topic("ratings"), partition) for partition in range(topics.partitions)])
    consumer.seek_to_beginning()
    while len(log) < 100:
        for records in consumer.poll(timeout_ms=100).values():
            log |= {(record.partition, record.offset): (record.key, record.value) for record in records}
    consumer.close()
    places = list(zip(outcome.partitions.tolist(), outcome.offsets.tolist(), strict=True))
    assert [log[place] for place in places] == list(zip(plan.load.keys, plan.load.values, strict=True))
    for user in set(plan.load.keys):
        own = [place for place, key in zip(places, plan.load.keys, strict=True) if key == user]
        assert len({partition for partition, _ in own}) == 1
        assert own == sorted(own)


def _look_at_the_record(plan, outcome, answerer):
    kept = Kept()
    hand_over(outcome, kept)
    assert [each[:3] for each in kept.ratings] == [
        (number, plan.due[number], value) for number, value in enumerate(plan.load.values)
    ]
    asked = {each.request_id: each for each in answerer.asked}
    assert {request.request_id: request for request in (decode_request(each[2]) for each in kept.requests)} == asked
    dues = [due for _, due, _ in kept.requests]
    assert dues == sorted(dues)
    assert len(kept.answers) == len(asked) - 1 + 1  # one has none, one has two
    assert NOT_ACKNOWLEDGED not in {offset for *_, offset in kept.ratings}
    with pytest.raises(ValueError, match="kept no answers"):
        hand_over(replace(outcome, answers_kept=None), kept)
