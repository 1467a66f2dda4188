"""When too many of the newest events are bad."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.worker.breaker import BreakerMark, Window, observe


def feed(reasons, first=0, window=None):
    """The window after events with these reasons, None for good ones, and what opened the breaker."""
    bad = {offset: reason for offset, reason in enumerate(reasons, first) if reason is not None}
    return observe(window or Window(), range(first, first + len(reasons)), bad)


def test_a_hundred_events_of_which_21_are_bad_open_it_at_the_hundredth():
    _, trip = feed(["not_json"] * 15 + ["bad_id"] * 6 + [None] * 79)
    assert (trip.offset, trip.events, trip.bad) == (99, 100, 21)
    assert trip.reasons == {"not_json": 15, "bad_id": 6}


def test_20_of_a_hundred_are_not_too_many():
    assert feed(["not_json"] * 20 + [None] * 80)[1] is None


def test_99_bad_events_are_too_few_to_tell():
    assert feed(["not_json"] * 99)[1] is None


def test_200_of_the_newest_thousand_are_not_too_many_and_one_more_is():
    window, trip = feed([None] * 5000 + ["bad_id"] * 200)
    assert trip is None
    _, trip = feed(["bad_id"], 5200, window)
    assert (trip.offset, trip.events, trip.bad) == (5200, 1000, 201)


def test_burst_in_the_middle_of_a_batch_opens_it_though_the_batch_ends_well():
    _, trip = feed([None] * 1000 + ["not_json"] * 201 + [None] * 900)
    assert trip.offset == 1200


def test_bad_events_older_than_a_thousand_are_forgotten():
    window, trip = feed([None] * 900 + ["not_json"] * 150)
    assert trip is None
    window, trip = feed([None] * 1000, 1050, window)
    assert trip is None
    assert set(window.reasons) == {None}
    assert feed(["not_json"] * 200, 2050, window)[1] is None


def test_events_met_again_after_a_seek_back_count_once():
    window, _ = feed([None] * 1000 + ["not_json"] * 150)
    again, trip = feed(["not_json"] * 150, 1000, window)
    assert (again, trip) == (window, None)
    assert feed(["not_json"] * 150 + [None], 1000, window)[0].next_offset == 1151


def test_events_below_the_forgiven_offset_do_not_count():
    assert feed(["not_json"] * 300, 0, Window(next_offset=300)) == (Window(300), None)
    assert feed(["not_json"] * 400, 0, Window(next_offset=300))[1].offset == 399


def test_mark_comes_back_from_its_bytes():
    mark = BreakerMark(is_open=True, until=7, why="21 of 100")
    assert BreakerMark.parse(mark.to_bytes()) == mark


def oracle(reasons):
    """The first event after which over a fifth of the newest thousand, or of all but a hundred at least, are bad."""
    for end in range(100, len(reasons) + 1):
        newest = reasons[max(0, end - 1000) : end]
        found = [reason for reason in newest if reason is not None]
        if len(found) / len(newest) > 0.2:
            return end - 1, len(newest), Counter(found)
    return None


runs = st.lists(st.tuples(st.sampled_from([None, None, "not_json", "bad_id"]), st.integers(1, 400)), max_size=12)


@given(runs, st.lists(st.integers(1, 700), min_size=1))
def test_any_cutting_into_batches_opens_it_where_a_plain_loop_does(lengths, cuts):
    reasons = [reason for reason, length in lengths for _ in range(length)]
    window, trip, at = Window(), None, 0
    for cut in [*cuts, len(reasons)]:
        window, trip = feed(reasons[at : at + cut], at, window)
        at += cut
        if trip is not None or at >= len(reasons):
            break
    expected = oracle(reasons)
    assert (trip is None) == (expected is None)
    if trip is not None:
        assert (trip.offset, trip.events, trip.reasons) == expected


@pytest.mark.parametrize("count", [1, 1000, 5000])
def test_good_events_only_move_it_on(count):
    assert feed([None] * count) == (Window(count, (None,) * min(count, 1000)), None)
