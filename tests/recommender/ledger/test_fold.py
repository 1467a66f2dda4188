"""One event into a ledger."""

import numpy as np
import pytest

from recommender.ledger import LastEvent, Ledger, apply_event, compact, entries, mean_of_entries

AT = LastEvent(1, 0, 0)


def rate(ledger: Ledger, item: int, rating: float, *, event: int = 0, x=None) -> Ledger:
    return apply_event(ledger, item=item, rating=round(rating * 10000), event=event, at=AT, x=x)


def test_mean_is_the_mean_of_rating_times_vector():
    x, y = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    ledger = rate(rate(Ledger.empty(2), 1, 4.0, x=x), 2, 3.0, x=y)
    np.testing.assert_allclose(ledger.mean, [(4 * 1 + 3 * 0) / 2, (4 * 0 + 3 * 2) / 2], rtol=1e-15)
    assert ledger.t == 2


def test_item_without_a_vector_counts_as_zero_and_is_remembered():
    ledger = rate(rate(Ledger.empty(1), 1, 4.0, x=np.array([1.0])), 2, 5.0)
    np.testing.assert_allclose(ledger.mean, [2.0])
    assert ledger.unembedded == 1


def test_last_t_is_the_number_of_ratings_before_the_newest_one_of_the_item():
    ledger = Ledger.empty(0)
    for item in (5, 6, 5):
        ledger = rate(ledger, item, 1.0)
    assert entries(ledger).tolist() == [(5, 2, 2, 20000), (6, 1, 1, 10000)]


def test_repeat_of_an_event_id_changes_nothing():
    once = rate(Ledger.empty(0), 5, 1.0, event=77)
    assert rate(once, 5, 1.0, event=77) is once


def test_events_without_an_id_are_never_repeats():
    assert rate(rate(Ledger.empty(0), 5, 1.0), 5, 1.0).t == 2


def test_repeat_is_seen_for_at_least_the_newest_32_events():
    ledger = rate(Ledger.empty(0), 1, 1.0, event=1)
    for n in range(31):
        ledger = rate(ledger, 2, 1.0, event=100 + n)
    assert rate(ledger, 1, 1.0, event=1) is ledger


def test_sixty_fifth_event_folds_all_but_the_newest_32():
    ledger = Ledger.empty(0)
    for n in range(65):
        ledger = rate(ledger, n % 3, 0.5)
    assert (len(ledger.tail), ledger.base["count"].sum()) == (32, 33)
    assert entries(ledger)["count"].tolist() == [22, 22, 21]
    assert entries(ledger)["last_t"].tolist() == [63, 64, 62]


def test_mean_recomputed_from_entries_equals_the_iterative_one():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, 3))
    ledger = Ledger.empty(3)
    for _ in range(200):
        item = int(rng.integers(0, 4))
        ledger = rate(ledger, item, int(rng.integers(1, 11)) / 2, x=vectors[item])
    rated = entries(ledger)
    mean, unembedded = mean_of_entries(rated, ledger.t, rated["item"].astype(np.int64), vectors)
    np.testing.assert_allclose(mean, ledger.mean, atol=1e-12)
    assert unembedded == 0


def test_compact_merges_what_was_rated_again_and_keeps_the_newest_32():
    ledger = Ledger.empty(0)
    for n in range(40):
        ledger = apply_event(ledger, item=5, rating=10000 * (n + 1), event=0, at=LastEvent(0, 0, n), x=None)
    small = compact(ledger)
    assert small.base.tolist() == [(5, 8, 7, 360000)]
    assert small.tail.tolist() == ledger.tail[8:].tolist()
    assert (small.t, small.rev) == (40, ledger.rev)


@pytest.mark.parametrize(("rated", "with_id"), [(range(40), None), ([5] * 32, None), ([5] * 40, 0), ([5] * 40, 1)])
def test_compact_leaves_alone_what_would_not_shrink_or_may_be_repeated(rated, with_id):
    ledger = Ledger.empty(0)
    for n, item in enumerate(rated):
        ledger = apply_event(ledger, item=item, rating=1, event=n == with_id, at=LastEvent(0, 0, n), x=None)
    assert compact(ledger) is ledger
