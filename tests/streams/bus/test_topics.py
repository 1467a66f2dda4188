"""Topics on real brokers."""

import uuid

import pytest
from kafka.errors import ClusterAuthorizationFailedError, TopicAlreadyExistsError

from schemas.errors import BusUnavailable, ConfigurationError
from schemas.topics import DAY_MS, TOPICS
from streams.bus.topics import create_topics, describe_topics, require_topic
from tests.waiting import wait_until


def test_table_keeps_what_the_contract_says():
    kept = {role: spec.config for role, spec in TOPICS.items()}
    assert kept == {
        "ratings": {"cleanup.policy": "delete", "retention.ms": "-1"},
        "requests": {"cleanup.policy": "delete", "retention.ms": str(DAY_MS)},
        "recommendations": {"cleanup.policy": "delete", "retention.ms": str(DAY_MS)},
        "items": {"cleanup.policy": "compact"},
        "models": {"cleanup.policy": "compact"},
        "ratings.dlq": {"cleanup.policy": "compact"},
        "requests.dlq": {"cleanup.policy": "compact"},
    }
    assert [role for role, spec in TOPICS.items() if spec.role != role] == []


class MemoryAdmin:
    """Notes what it is asked to make; ``error`` is raised instead."""

    def __init__(self, error=None):
        self.error = error
        self.made = {}

    def describe_topics(self, names):
        partitions = [{"partition_index": 0}]
        return [
            {"error_code": 0, "name": name, "topic_id": uuid.UUID(int=1), "partitions": partitions}
            for name in names
            if name in self.made
        ]

    def create_topics(self, requests):
        if self.error is not None:
            raise self.error
        self.made |= requests

    def wait_for_topics(self, names):
        assert set(names) <= set(self.made) or self.error is not None


def test_topics_are_made_with_partitions_replicas_and_configuration(make_settings):
    admin = MemoryAdmin()
    create_topics(admin, make_settings(topic_prefix="", partitions=12, replication=3))
    assert len(admin.made) == 7
    assert admin.made["items"] == {
        "num_partitions": 12,
        "replication_factor": 3,
        "configs": {"cleanup.policy": "compact", "min.insync.replicas": "2"},
    }


def test_single_replica_asks_for_none_in_sync(make_settings):
    admin = MemoryAdmin()
    create_topics(admin, make_settings(topic_prefix="", replication=1))
    assert "min.insync.replicas" not in admin.made["ratings"]["configs"]


def test_refusal_names_the_topic(make_settings):
    with pytest.raises(ConfigurationError, match=r"topic 'ratings' could not be made: .*Authorization"):
        create_topics(MemoryAdmin(ClusterAuthorizationFailedError()), make_settings(topic_prefix=""))


def test_topic_that_another_process_made_meanwhile_is_no_error(make_settings):
    create_topics(MemoryAdmin(TopicAlreadyExistsError()), make_settings(topic_prefix=""))


@pytest.mark.integration
class TestOnARealBroker:
    def test_missing_topics_are_made_once(self, admin, settings):
        names = {settings.topic(role) for role in TOPICS}
        assert describe_topics(admin, sorted(names)) == {}
        assert create_topics(admin, settings) == dict.fromkeys(names, True)
        assert create_topics(admin, settings) == dict.fromkeys(names, False)

    def test_described_topic_has_its_partitions_and_an_id(self, admin, topics):
        name = topics.topic("ratings")
        info = require_topic(admin, name)
        assert (info.name, info.partitions) == (name, topics.partitions)
        assert str(uuid.UUID(info.topic_id)) == info.topic_id
        assert uuid.UUID(info.topic_id).int != 0
        assert require_topic(admin, name) == info

    def test_topic_made_again_has_another_id(self, admin, settings):
        create_topics(admin, settings)
        name = settings.topic("ratings")
        before = require_topic(admin, name).topic_id
        admin.delete_topics([name])
        wait_until(lambda: name not in describe_topics(admin, [name]))
        create_topics(admin, settings)
        assert require_topic(admin, name).topic_id != before

    def test_missing_topic_says_what_to_do(self, admin):
        with pytest.raises(ConfigurationError, match=r"topic 'nowhere' does not exist: run `streamrec topics create`"):
            require_topic(admin, "nowhere")


class DescribingAdmin:
    """Describes one topic with an error code."""

    def __init__(self, code):
        self.code = code

    def describe_topics(self, names):
        return [
            {"name": name, "error_code": self.code, "topic_id": uuid.UUID(int=1), "partitions": []} for name in names
        ]


def test_topic_the_broker_does_not_know_is_left_out():
    assert describe_topics(DescribingAdmin(3), ["ratings"]) == {}


def test_topic_without_a_leader_yet_is_no_missing_topic():
    with pytest.raises(BusUnavailable, match="LeaderNotAvailableError"):
        describe_topics(DescribingAdmin(5), ["ratings"])


def test_topic_that_an_access_list_hides_is_no_missing_topic():
    with pytest.raises(ConfigurationError, match="TopicAuthorizationFailedError"):
        describe_topics(DescribingAdmin(29), ["ratings"])
