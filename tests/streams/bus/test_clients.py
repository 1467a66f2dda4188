"""Clients of the bus: their defaults, and what is said when there is nothing to talk to."""

import pytest

from schemas.errors import ConfigurationError
from streams.bus import clients


@pytest.fixture
def arguments_of(monkeypatch, make_settings):
    """What a maker passes on to kafka-python."""

    def record(make, **values):
        seen = {}
        for name in ("KafkaProducer", "KafkaConsumer", "KafkaAdminClient"):
            monkeypatch.setattr(clients, name, lambda **arguments: seen.update(arguments))
        make(make_settings(**values))
        return seen

    return record


def test_producer_waits_for_all_replicas_and_makes_no_topics(arguments_of):
    arguments = arguments_of(clients.make_producer)
    assert (arguments["acks"], arguments["allow_auto_create_topics"]) == ("all", False)


def test_consumer_neither_commits_nor_resets_by_itself_and_reads_what_is_committed(arguments_of):
    arguments = arguments_of(clients.make_consumer)
    assert arguments["enable_auto_commit"] is False
    assert arguments["auto_offset_reset"] == "none"
    assert arguments["isolation_level"] == "read_committed"
    assert arguments["allow_auto_create_topics"] is False
    assert "group_id" not in arguments


@pytest.mark.parametrize("make", [clients.make_producer, clients.make_consumer, clients.make_admin])
def test_every_client_gets_servers_and_security(arguments_of, make):
    arguments = arguments_of(
        make,
        bootstrap_servers="a:1, b:2",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="u",
        kafka_sasl_password="p",
    )
    assert arguments["bootstrap_servers"] == ["a:1", "b:2"]
    assert arguments["security_protocol"] == "SASL_SSL"
    assert (arguments["sasl_mechanism"], arguments["sasl_plain_username"]) == ("PLAIN", "u")
    assert arguments["sasl_plain_password"] == "p"
    assert arguments["ssl_context"] is not None


def test_no_broker_is_said_with_what_to_do_and_without_the_password(monkeypatch, make_settings):
    monkeypatch.setattr(clients, "CONNECT_TIMEOUT_MS", 300)
    settings = make_settings(
        bootstrap_servers="nowhere.invalid:9092",
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="u",
        kafka_sasl_password="hush",
    )
    with pytest.raises(
        ConfigurationError, match=r"no Kafka answers at nowhere\.invalid:9092 \(SASL_PLAINTEXT\)"
    ) as said:
        clients.make_admin(settings)
    assert "STREAMREC_BOOTSTRAP_SERVERS" in str(said.value)
    assert "hush" not in str(said.value)
