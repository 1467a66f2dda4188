from types import SimpleNamespace

import pytest

from streams.health import HUNG_S, Health


@pytest.fixture
def clock():
    return SimpleNamespace(now_s=0.0)


@pytest.fixture
def health(clock):
    return Health("worker", 10.0, lambda: clock.now_s)


def test_a_process_is_alive_and_not_ready_before_it_begins_its_work(health):
    health.begin("loading the catalogue")
    assert (health.faults(), health.is_alive) == (["loading the catalogue"], True)


def test_what_a_check_finds_is_a_reason_not_to_be_ready(health):
    found = []
    health.watch(lambda: found)
    health.begin("")
    assert health.faults() == []
    found.append("the store did not answer")
    assert health.faults() == ["the store did not answer"]


def test_a_silent_main_loop_is_first_not_ready_and_then_not_alive(health, clock):
    health.begin("")
    health.beat()
    clock.now_s = 10.0
    assert health.faults() == []
    clock.now_s = 10.5
    assert health.faults() == ["the main loop is silent for 10.5 s"]
    assert health.is_alive
    clock.now_s = HUNG_S + 0.1
    assert not health.is_alive
    health.beat()
    assert (health.faults(), health.is_alive) == ([], True)
