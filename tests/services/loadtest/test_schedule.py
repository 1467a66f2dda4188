"""When things are due: fixed before the run, by rate, speed or ramp."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loadtest.schedule import BURST_EVERY_S, Pace, due_times, in_bursts, request_times


def test_a_rate_spaces_events_evenly_and_a_duration_cuts_them():
    assert due_times(Pace(rate=4.0), 100, duration_s=1.0).tolist() == [0.0, 0.25, 0.5, 0.75]
    assert len(due_times(Pace(rate=4.0), 3, duration_s=1.0)) == 3


def test_a_ramp_reaches_its_last_rate_at_its_end():
    due = due_times(Pace(ramp=(10.0, 90.0)), 10_000, duration_s=10.0)
    assert len(due) == 500  # the mean of 10 and 90, ten seconds long
    counts, _ = np.histogram(due, bins=np.arange(11))
    assert counts.tolist() == [14, 22, 30, 38, 46, 54, 62, 70, 78, 86]


def test_a_ramp_may_be_level_or_go_down():
    assert due_times(Pace(ramp=(5.0, 5.0)), 100, duration_s=1.0) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    down = np.diff(due_times(Pace(ramp=(90.0, 10.0)), 10_000, duration_s=10.0))
    assert (np.diff(down) > 0).all()


def test_a_speed_keeps_the_logs_rhythm_and_time_that_runs_backwards_stands_still():
    due = due_times(Pace(speed=2.0), 4, np.array([1000.0, 3000.0, 2000.0, 5000.0]))
    assert due.tolist() == [0.0, 1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Pace, "one of rate, speed and ramp"),
        (lambda: Pace(rate=1.0, speed=1.0), "got 2"),
        (lambda: Pace(ramp=(0.0, 1.0)), "must be positive"),
        (lambda: due_times(Pace(ramp=(1.0, 2.0)), 5), "needs a duration"),
        (lambda: due_times(Pace(speed=1.0), 5), "ts_ms"),
    ],
)
def test_a_pace_that_cannot_be_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@given(rate=st.floats(5, 500), seconds=st.floats(0.5, 23))
def test_bursts_keep_the_order_and_every_whole_cycle_its_mean_rate(rate, seconds):
    due = np.arange(int(rate * seconds)) / rate
    warped = in_bursts(due)
    assert (np.diff(warped) > 0).all()
    cycle = (due // BURST_EVERY_S).astype(int)
    assert ((warped // BURST_EVERY_S).astype(int) == cycle).all()


def test_a_burst_has_three_times_the_rate_for_half_a_second():
    warped = in_bursts(np.arange(5000) / 1000)
    in_burst = ((warped >= 2.25) & (warped < 2.75)).sum()
    assert in_burst == pytest.approx(1500, abs=2)


def test_requests_follow_the_ratings_through_bursts_and_ask_for_the_users_who_rate_then():
    due = np.array([0.0, 0.1, 0.2, 5.0])
    times, asked = request_times(due, 0.5)
    assert (times.tolist(), asked.tolist()) == ([0.0, 0.2], [0, 2])
    times, asked = request_times(due, 2.0)
    assert times[:4].tolist() == pytest.approx([0.0, 0.05, 0.1, 0.15])
    assert asked.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(request_times(due, 0.0)[0]) == 0
