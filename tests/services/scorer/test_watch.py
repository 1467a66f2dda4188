import uuid
from types import SimpleNamespace

import pytest

from schemas.errors import ConfigurationError
from services.scorer.watch import TopicWatch
from streams.bus.topics import TopicInfo

IDS = {name: str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in ("ratings", "requests")}


class FakeAdmin:
    def __init__(self):
        self.topics = {name: (topic_id, 4) for name, topic_id in IDS.items()}

    def describe_topics(self, names):
        return [
            {"error_code": 0, "name": name, "topic_id": self.topics[name][0], "partitions": [{}] * self.topics[name][1]}
            for name in names
            if name in self.topics
        ]


@pytest.fixture
def admin():
    return FakeAdmin()


@pytest.fixture
def states():
    return SimpleNamespace(partitions=4)


@pytest.fixture
def watch(admin, states):
    return TopicWatch(admin, [TopicInfo(name, topic_id, 4) for name, topic_id in IDS.items()], states)


def test_topics_that_stay_say_nothing(watch, states):
    watch.look()
    watch.check()
    assert states.partitions == 4


def test_a_topic_made_again_is_named_with_both_ids(watch, admin):
    other = str(uuid.uuid4())
    admin.topics["ratings"] = (other, 4)
    with pytest.raises(
        ConfigurationError, match=f"'ratings' had id {IDS['ratings']}, it was made again with id {other}"
    ):
        watch.look()


def test_a_topic_that_is_gone_is_named(watch, admin):
    del admin.topics["requests"]
    with pytest.raises(ConfigurationError, match="'requests' does not exist any more"):
        watch.look()


def test_partitions_added_to_the_ratings_are_taken_in(watch, admin, states):
    admin.topics["ratings"] = (IDS["ratings"], 6)
    watch.look()
    assert states.partitions == 6


def test_what_the_thread_found_is_raised_by_the_check(watch, admin, monkeypatch):
    monkeypatch.setattr("services.scorer.watch.CHECK_S", 0.001)
    del admin.topics["requests"]
    watch.start()
    watch._thread.join(10)
    with pytest.raises(ConfigurationError, match="'requests' does not exist any more"):
        watch.check()
    watch.stop()
