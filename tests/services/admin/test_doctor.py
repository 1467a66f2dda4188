"""The doctor as a whole."""

import pytest

from schemas.errors import ConfigurationError
from services.admin import doctor
from services.admin.doctor import examine
from services.admin.findings import Finding, has_failed


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch):
    # Asking torch takes seconds; it has tests of its own.
    monkeypatch.setattr(doctor, "check_torch", lambda: [Finding("torch", "ok", "")])


def by_check(findings):
    return {finding.check: finding for finding in findings}


@pytest.mark.integration
def test_everything_is_looked_at_once(topics):
    found = examine(topics)
    names = [finding.check for finding in found]
    assert len(set(names)) == len(names)
    assert {"broker", "store", "clock", "catalogue", "embeddings", "state", "torch"} <= set(names)
    assert f"topic {topics.topic('ratings')}" in names
    assert not has_failed(found)


@pytest.mark.integration
def test_topics_that_are_missing_fail_and_hide_nothing_else(settings):
    found = by_check(examine(settings))
    assert found[f"topic {settings.topic('items')}"].status == "fail"
    assert found["store"].status == "ok"
    assert "catalogue" not in found


@pytest.mark.integration
def test_store_that_is_away_is_one_failure(topics):
    found = by_check(examine(topics.model_copy(update={"redis_url": "redis://:secret@127.0.0.1:1/0"})))
    assert found["store"].status == "fail"
    assert "STREAMREC_REDIS_URL" in found["store"].remedy
    assert found["broker"].status == "ok"
    assert not any("secret" in finding.says for finding in found.values())


@pytest.mark.integration
def test_broker_that_is_away_is_one_failure(make_settings, store, monkeypatch):
    def refuse(settings):
        raise ConfigurationError(f"no Kafka answers at {settings.bootstrap_servers}")

    monkeypatch.setattr("services.admin.bus.make_admin", refuse)
    found = by_check(examine(make_settings(bootstrap_servers="127.0.0.1:1", redis_url=store.url)))
    assert found["broker"].status == "fail"
    assert "streamrec up" in found["broker"].remedy
    assert found["store"].status == "ok"
    assert set(found) == {"broker", "store", "clock", "torch"}
