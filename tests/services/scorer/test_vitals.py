from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from services.scorer.vitals import Vitals
from streams.health import Health


@pytest.fixture
def bench():
    bench = SimpleNamespace(now_s=0.0, lags={}, says="")
    bench.scorer = SimpleNamespace(unanswered=0, waiting=0, acknowledged=0)
    inbox = SimpleNamespace(lag=lambda: bench.lags, fault=lambda: bench.says)
    bench.health = Health("scorer", 10.0, lambda: bench.now_s)
    bench.vitals = Vitals(bench.scorer, inbox, bench.health, lambda: bench.now_s)

    def note(seconds):
        bench.now_s += seconds
        bench.vitals.note()
        return bench.vitals.faults()

    bench.note = note
    return bench


def lag(partition):
    return REGISTRY.get_sample_value("streamrec_requests_lag", {"partition": str(partition)})


def test_answers_that_nobody_acknowledges_for_long_are_a_fault_until_one_is(bench):
    bench.note(1)
    bench.scorer.unanswered = 7
    assert bench.note(1) == []
    assert bench.note(9) == []
    assert bench.note(1.5) == ["the broker has acknowledged none of 7 answers for 11.5 s"]
    bench.scorer.acknowledged, bench.scorer.unanswered = 3, 9
    assert bench.note(1) == []


def test_requests_that_wait_for_a_state_are_no_fault(bench):
    bench.scorer.unanswered = bench.scorer.waiting = 5
    assert [bench.note(6) for _ in range(4)] == [[], [], [], []]


def test_what_the_inbox_says_keeps_the_scorer_from_being_ready(bench):
    bench.says = "the scorers' group is rebalancing"
    assert bench.note(1) == ["the scorers' group is rebalancing"]


def test_lag_is_shown_for_the_partitions_that_it_has_now(bench):
    bench.lags = {9_001: 4, 9_002: 0}
    bench.note(1)
    assert (lag(9_001), lag(9_002)) == (4, 0)
    bench.lags = {9_002: 6}
    bench.note(1)
    assert (lag(9_001), lag(9_002)) == (None, 6)


def test_it_looks_once_a_second_and_tells_that_the_loop_goes_round(bench):
    bench.health.begin("")
    bench.note(1)
    bench.lags = {9_003: 1}
    bench.note(0.9)
    assert lag(9_003) is None
    bench.now_s += 10.5
    assert bench.health.faults() == ["the main loop is silent for 11.4 s"]
