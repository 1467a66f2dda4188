"""Topics beside the contract's table."""

import pytest
from kafka.errors import TopicAuthorizationFailedError

from services.admin.findings import has_failed
from services.admin.topics import check_topics
from streams.bus.topics import create_topics

TABLE = {
    "ratings": {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
    "requests": {"cleanup.policy": "delete", "retention.ms": "86400000"},
    "recommendations": {"cleanup.policy": "delete", "retention.ms": "86400000"},
    "items": {"cleanup.policy": "compact"},
    "models": {"cleanup.policy": "compact"},
    "ratings.dlq": {"cleanup.policy": "compact"},
    "requests.dlq": {"cleanup.policy": "compact"},
}


class MemoryAdmin:
    """A broker's topics: partitions and configuration by name; ``tells`` False refuses to tell configurations."""

    def __init__(self, configs=None, partitions=4, *, tells=True):
        self.configs = TABLE if configs is None else configs
        self.partitions = partitions
        self.tells = tells

    def describe_topics(self, names):
        topic_id = "01a207b3-6f3a-7551-a8e4-28c16338c734"
        return [
            {"error_code": 0, "name": name, "topic_id": topic_id, "partitions": [{}] * self.partitions}
            for name in names
            if name in self.configs
        ]

    def describe_configs(self, resources, config_filter):
        assert config_filter == "all", "a policy that is the broker's default counts, too"
        if not self.tells:
            raise TopicAuthorizationFailedError
        found = {
            one.name: {key: {"value": value} for key, value in self.configs[one.name].items()} for one in resources
        }
        return {"topic": found}


def findings_of(make_settings, admin, **settings):
    found = check_topics(admin, make_settings(topic_prefix="", **settings))
    return {finding.check.removeprefix("topic "): finding for finding in found}


def changed(name, **config):
    return MemoryAdmin(TABLE | {name: TABLE[name] | {key.replace("_", "."): value for key, value in config.items()}})


def test_topics_of_the_contract_are_well(make_settings):
    found = findings_of(make_settings, MemoryAdmin())
    assert {finding.status for finding in found.values()} == {"ok"}
    assert found["ratings"].says == "4 partitions; delete, as the contract has it"


def test_missing_topic_fails_and_says_what_to_do(make_settings):
    found = findings_of(make_settings, MemoryAdmin({"ratings": TABLE["ratings"]}))
    assert found["ratings"].status == "ok"
    assert (found["items"].status, found["items"].remedy) == ("fail", "run `streamrec topics create`")


@pytest.mark.parametrize(
    ("name", "policy", "status"),
    [
        ("ratings", "compact", "fail"),
        ("items", "delete", "fail"),
        ("models", "compact,delete", "fail"),
        ("ratings.dlq", "delete", "warn"),
    ],
)
def test_other_cleanup_policy_is_named_with_the_remedy(make_settings, name, policy, status):
    finding = findings_of(make_settings, changed(name, cleanup_policy=policy))[name]
    assert finding.status == status
    assert f"cleanup.policy is {policy}, the contract has {TABLE[name]['cleanup.policy']}" in finding.says
    assert f"cleanup.policy={TABLE[name]['cleanup.policy']}" in finding.remedy


@pytest.mark.parametrize(("key", "value"), [("retention.ms", "604800000"), ("retention.bytes", "1073741824")])
def test_ratings_with_a_limit_are_warned_of(make_settings, key, value):
    finding = findings_of(make_settings, changed("ratings", **{key: value}))["ratings"]
    assert finding.status == "warn"
    assert f"{key} is {value}, the contract has -1" in finding.says


def test_other_number_of_partitions_works_and_is_mentioned(make_settings):
    finding = findings_of(make_settings, MemoryAdmin(partitions=1))["requests"]
    assert finding.status == "ok"
    assert finding.says.startswith("1 partition;")
    assert "`partitions` is 4" in finding.says


def test_replicated_topics_need_two_in_sync(make_settings):
    assert findings_of(make_settings, MemoryAdmin(), replication=3)["items"].status == "warn"
    both = changed("items", **{"min.insync.replicas": "2"})
    assert findings_of(make_settings, both, replication=3)["items"].status == "ok"


@pytest.mark.parametrize("admin", [MemoryAdmin(tells=False), MemoryAdmin({name: {} for name in TABLE})])
def test_broker_that_tells_no_configuration_is_said_to_and_does_not_fail(make_settings, admin):
    found = findings_of(make_settings, admin)
    assert not has_failed(found.values())
    assert "tells no topic configuration" in found["items"].says


@pytest.mark.integration
def test_topics_as_we_make_them_are_well(admin, settings):
    assert {finding.status for finding in check_topics(admin, settings)} == {"fail"}
    create_topics(admin, settings)
    assert {finding.status for finding in check_topics(admin, settings)} == {"ok"}
