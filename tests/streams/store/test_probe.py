from types import SimpleNamespace

import pytest

from services.runtime.engines import start_store
from streams.bus.topics import TopicInfo
from streams.store.clients import make_client
from streams.store.keys import ShardKeys
from streams.store.probe import StateProbe, open_probe

TOPIC = TopicInfo("ratings", "T", 1)


def test_a_store_that_answers_is_no_fault_and_shards_are_as_old_as_their_watermark(store, make_settings):
    settings = make_settings(redis_url=store.url)
    with make_client(settings) as client:
        seconds, _ = client.time()
        client.set(ShardKeys(settings.namespace, 0).watermark("T", 0), f"5 1 owner {(seconds - 60) * 1000}")
    with open_probe(settings, TOPIC) as probe:
        assert probe.faults() == []
        assert 60 <= probe.ages_s()[0] < 120


def test_a_store_that_is_away_is_a_fault_until_it_answers(tmp_path, make_settings):
    with start_store(tmp_path / "a") as engine:
        settings, port = make_settings(redis_url=engine.url), engine.port
    clock = SimpleNamespace(now_s=0.0)
    with open_probe(settings, TOPIC) as opened:
        probe = StateProbe(opened._connect, lambda: clock.now_s)
        assert "the store did not answer" in probe.faults()[0]
        assert probe.ages_s() == {}
        with start_store(tmp_path / "b", port=port):
            assert probe.faults(), "looked at again within a second"
            clock.now_s = 1.0
            assert probe.faults() == []


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1:1", "redis://127.0.0.1:1/0"])
def test_a_store_that_was_never_there_is_a_fault_and_no_crash(make_settings, url):
    with open_probe(make_settings(redis_url=url), TOPIC) as probe:
        assert "the store did not answer" in probe.faults()[0]
