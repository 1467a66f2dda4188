import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.hashing import hash_id, hash_ids
from recommender.statistics import ItemStatistics, StatisticsView, apply_deltas, means_of_others, shrunk_means
from schemas.events import Item

deltas = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(-50_000, 50_000)), max_size=20)


def columns(triples):
    return [np.array(column, dtype=np.int64) for column in zip(*triples, strict=True)] or [np.zeros(0, np.int64)] * 3


def view_of(counts, sums, total_count, total_sum):
    return StatisticsView(np.array(counts), np.array(sums), total_count, total_sum)


def test_mean_is_shrunk_to_the_global_mean_by_k0_ratings():
    # m = 3 (10 ratings, 30 in sum), k0 = 5: (20 + 15)/(5 + 5) = 3.5; nobody's item: 3; (5 + 15)/(1 + 5) = 10/3.
    view = view_of([5, 0, 1], [200_000, 0, 50_000], 10, 300_000)
    np.testing.assert_allclose(shrunk_means(view, prior=2.75), [3.5, 3.0, 10 / 3], rtol=1e-15)


def test_global_mean_counts_items_outside_the_catalogue():
    assert view_of([1], [10_000], 4, 140_000).global_mean(2.75) == 3.5


def test_prior_stands_for_the_mean_while_nobody_rated():
    assert shrunk_means(StatisticsView.empty(2), prior=2.75).tolist() == [2.75, 2.75]


def test_means_of_a_view_are_computed_once_for_each_parameter():
    view = StatisticsView.empty(3)
    assert view.means(5.0, 2.75) is view.means(5.0, 2.75)
    assert view.means(5.0, 3.0).tolist() == [3.0] * 3


def test_mean_of_others_leaves_out_the_users_own_ratings():
    # 6 ratings with sum 25, of which the user's own 2 sum to 9: (16 + 15)/(4 + 5).
    view = view_of([9, 6], [0, 250_000], 20, 600_000)
    means = means_of_others(view, np.array([1]), np.array([2]), np.array([90_000]), 5.0, prior=2.75)
    np.testing.assert_allclose(means, [31 / 9], rtol=1e-15)


def test_mean_of_others_is_the_global_mean_when_nobody_else_is_counted():
    view = view_of([1], [50_000], 20, 600_000)
    for own in (1, 2):  # two: the statistics lag behind the ledger
        means = means_of_others(view, np.array([0]), np.array([own]), np.array([own * 50_000]), 5.0, prior=2.75)
        assert means.tolist() == [3.0]


@given(triples=deltas)
def test_deltas_add_up_in_any_order(triples):
    rows, counts, sums = columns(triples)
    forward = apply_deltas(StatisticsView.empty(6), rows, counts, sums)
    backward = apply_deltas(StatisticsView.empty(6), rows[::-1], counts[::-1], sums[::-1])
    for row in range(6):
        assert forward.counts[row] == sum(count for place, count, _ in triples if place == row)
        assert forward.sums[row] == backward.sums[row] == sum(total for place, _, total in triples if place == row)
    assert forward.total_count == sum(count for _, count, _ in triples)


@given(triples=deltas)
def test_statistics_by_hash_and_by_row_agree(triples):
    catalogue = build_catalogue([CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(4)])
    rows, counts, sums = columns(triples)  # items i4 and i5 are outside the catalogue
    hashes = hash_ids(f"i{row}" for row in rows.tolist())
    by_hash = ItemStatistics.empty().apply_deltas(hashes[:7], counts[:7], sums[:7])
    by_hash = by_hash.apply_deltas(hashes[7:], counts[7:], sums[7:])
    by_row = apply_deltas(StatisticsView.empty(4), catalogue.rows_of_hashes(hashes), counts, sums)
    view = by_hash.view(catalogue)
    assert (view.counts.tolist(), view.sums.tolist()) == (by_row.counts.tolist(), by_row.sums.tolist())
    assert (view.total_count, view.total_sum) == (by_row.total_count, by_row.total_sum)
    assert (np.diff(by_hash.hashes.astype(object)) > 0).all()


def test_applying_deltas_leaves_the_earlier_value_as_it_was():
    before = StatisticsView.empty(1)
    apply_deltas(before, np.array([0]), np.array([1]), np.array([40_000]))
    assert before.counts.tolist() == [0]
    with pytest.raises(ValueError, match="read-only"):
        before.counts[0] = 1


def test_count_below_zero_is_refused():
    with pytest.raises(ValueError, match="counts must be at least 0, got -1 at 0"):
        ItemStatistics.empty().apply_deltas(
            np.array([hash_id("a")], dtype=np.uint64), np.array([-1]), np.array([-10_000])
        )
