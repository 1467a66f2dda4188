"""A run in which everything goes on at once, kept and played again on other systems."""

import json
from collections import Counter

import pytest
from kafka import TopicPartition

from recommender.embeddings.training import PcaSettings
from schemas.codec import decode_answer, encode
from schemas.errors import ConfigurationError
from schemas.events import RecommendationRequest
from services.admin.releases import publish_release
from services.cli.loadtest_again import play_record
from services.lab.datasets import rating_events
from services.lab.synthetic import Sizes, generate
from services.loadtest.again import STATISTICS_USED
from services.loadtest.answers_compared import used_statistics
from services.loadtest.record import FileRecorder, read_record
from services.loadtest.world import keep_world, publish_world
from services.trainer.embeddings import train_embeddings
from streams.bus.clients import make_consumer, make_producer
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SIZES = Sizes(users=8, items=60, ratings=150)
POLICIES = ("greedy_compat", "epsilon_greedy_compat", "ucb_compat", "greedy", "epsilon_greedy", "ucb", "random")
BAD_RATING = b'{"user_id": "u1", "item_id": "i1", "rating": 77}'
UNKNOWN = "no such policy"
OPEN_AT_ONCE = 15


class Run:
    """A run whose ratings and requests go out while others are under way; what was sent, by topic, with its future."""

    def __init__(self, settings):
        self.settings = settings
        self.sent = {"ratings": [], "requests": []}
        self._producer = make_producer(settings)
        self._consumer = make_consumer(settings)
        topic = settings.topic("recommendations")
        tps = [TopicPartition(topic, partition) for partition in sorted(self._consumer.partitions_for_topic(topic))]
        self._consumer.assign(tps)
        self._consumer.seek_to_beginning(*tps)
        self.answers = []

    def send(self, role, key, value):
        future = self._producer.send(self.settings.topic(role), key=key.encode(), value=value)
        self.sent[role].append((value, future))

    def ask(self, n, user_id, policy):
        request = RecommendationRequest(
            request_id=f"r{n}", user_id=user_id, k=3, policy=policy, ts_ms=None, deadline_ms=60_000
        )
        self.send("requests", user_id, encode(request))

    def play(self, ratings):
        for n, event in enumerate(ratings):
            if n % 9 == 0:
                event.event_id = f"e{n}"
            value = encode(event)
            self.send("ratings", event.user_id, value)
            if n % 9 == 0:
                self.send("ratings", event.user_id, value)
            if n % 30 == 0:
                self.send("ratings", event.user_id, BAD_RATING)
            self.ask(n, event.user_id, POLICIES[n % len(POLICIES)] if n % 50 else UNKNOWN)
            if n >= OPEN_AT_ONCE:
                wait_until(lambda first=n - OPEN_AT_ONCE: self.hear() >= first, 30, "most answers")
        self.send("requests", "", b"no request")
        self._producer.flush()

    def hear(self):
        for records in self._consumer.poll(timeout_ms=20).values():
            self.answers += [record.value for record in records]
        return len({decode_answer(value).request_id for value in self.answers})

    def keep(self, recorder):
        for seq, (value, future) in enumerate(self.sent["ratings"]):
            place = future.get(10)
            recorder.rating(seq, seq / 100, value, place.partition, place.offset)
        for seq, (value, _) in enumerate(self.sent["requests"]):
            recorder.request(seq, seq / 100, value)
        for value in self.answers:
            recorder.answer(value, 1.0)

    def close(self):
        self._producer.close()
        self._consumer.close()


@pytest.fixture(scope="module")
def record(make_system, tmp_path_factory):
    """A folder that holds a run."""
    directory = tmp_path_factory.mktemp("record")
    items, ratings = generate(4, SIZES)
    system = make_system()
    system.publish(items)
    release = train_embeddings(items, "pca", PcaSettings(dim=4), system.settings.model_dir).release
    publish_release(system.settings, release)
    system.start("worker", "scorer")
    run = Run(system.settings)
    run.play(list(rating_events(ratings)))
    wait_until(lambda: run.hear() == SIZES.ratings, 60, "every answer")
    with FileRecorder(directory, {"settings": {"policy": system.settings.policy}}) as recorder:
        run.keep(recorder)
        keep_world(recorder, system.settings)
    run.close()
    system.close()
    return directory


@pytest.fixture
def play(make_system, record, tmp_path):
    """A player of the record on a system of its own, as the command plays it; exit code and ``again.json``."""

    def play_on(*, serial, **values):
        system = make_system(**values)
        publish_world(record, system.settings)
        system.start("worker", "scorer")
        how = {"serial": serial, "embedded": False, "has_state": False, "out": tmp_path}
        code = play_record(record, system.settings, **how)
        with pytest.raises(ConfigurationError, match=r"holds \d+ records"):
            play_record(record, system.settings, **how)
        system.close()
        return code, json.loads((tmp_path / "again.json").read_text())

    return play_on


def answers_of(record):
    return [decode_answer(value) for value in read_record(record).answers]


def test_the_run_answered_users_at_many_moments(record):
    answers = answers_of(record)
    moments = Counter(answer.state.t for answer in answers if answer.items)
    assert len(moments) > 15
    assert len({json.dumps(answer.state.statistics_to, sort_keys=True) for answer in answers}) > 20


def test_users_played_side_by_side_get_the_answers_they_had(record, play):
    code, found = play(serial=False)
    using = [answer.request_id for answer in answers_of(record) if used_statistics(answer)]
    assert sorted(found["not_compared"].pop(STATISTICS_USED)) == sorted(using)
    assert found["not_compared"] == {}
    assert found["compared"] == found["answers"] - len(using) > SIZES.ratings / 3
    assert (found["named"], found["unanswered"], code) == ([], [], 0)


def test_played_in_one_order_every_answer_is_the_same_but_for_what_was_set_otherwise(record, play, capsys):
    code, found = play(serial=True, ucb_c=3.0, policy="ucb")
    asked = [answer.request_id for answer in answers_of(record) if answer.policy == "ucb"]
    assert (found["compared"], found["answers"], found["not_compared"]) == (SIZES.ratings, SIZES.ratings, {})
    differences = found["differences"]
    assert found["differing"] == differences["policy_version"] == len(asked)
    assert {difference["request_id"] for difference in found["named"]} <= set(asked)
    assert differences.keys() <= {"policy_version", "score", "item_id", "propensity"}
    assert differences["score"] > 0
    assert code == 1
    told = capsys.readouterr()
    assert "recorded with policy greedy, played again with ucb" in told.err
    assert f"differ: score {differences['score']}" in told.out or "differ: policy_version" in told.out
