"""Offered against achieved: who keeps up, who falls behind."""

import numpy as np
import pytest

from services.loadtest.throughput import done_times, throughput

DUE = np.arange(1000) / 100.0


def test_a_steady_latency_is_no_loss():
    found = throughput(DUE, DUE + 0.8, 1.0, 10.0, 0.8)
    assert (found.share, found.is_saturated) == (1.0, False)


@pytest.mark.parametrize(("capacity", "is_saturated"), [(100, False), (98, True), (60, True)])
def test_a_system_that_does_less_than_is_offered_is_saturated(capacity, is_saturated):
    done = np.maximum(DUE, np.arange(1, 1001) / capacity)
    found = throughput(DUE, done, 1.0, 10.0, float(np.median(done - DUE)))
    assert found.is_saturated is is_saturated
    assert found.achieved == pytest.approx(capacity, abs=1.0)


def test_what_is_never_done_does_not_count():
    done = np.where(np.arange(1000) % 50 == 0, np.nan, DUE + 0.1)
    assert throughput(DUE, done, 0.0, 10.0, 0.1).achieved == pytest.approx(98)


def test_nothing_offered_is_nothing_missed():
    assert throughput(np.zeros(0), np.zeros(0), 0.0, 10.0, 0.0).is_saturated is False


def test_events_are_done_between_the_looks_that_count_them():
    found = done_times(np.array([0.0, 1.0, 1.5, 2.0]), np.array([0, 4, 4, 5]), 6)
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 2.0])
    assert np.isnan(found[5])


def test_what_was_done_before_the_first_look_is_not_known():
    assert np.isnan(done_times(np.array([0.0, 1.0]), np.array([2, 3]), 3)).tolist() == [True, True, False]
    assert np.isnan(done_times(np.zeros(0), np.zeros(0, np.int64), 2)).all()
