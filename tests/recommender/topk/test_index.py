"""The top k of every index is the reference's, whatever the numbers; and the bound is what makes it so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.topk import index as module
from recommender.topk import reference_scores
from recommender.topk.index import ItemIndex
from recommender.topk.kernels import BLOCK
from tests.recommender.topk.oracle import check, expected

few_values = st.sampled_from([-1.0, -0.5, 0.0, -0.0, 0.5, 1.0])
any_value = few_values | st.floats(-5, 5)


@st.composite
def worlds(draw):
    """Vectors of which many are the same, means, several users, what each has seen, and k; sizes around a block."""
    seed, dim = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 9))
    rng = np.random.default_rng(seed)
    size = draw(st.sampled_from([1, 2, 10, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]))
    kinds = np.array(draw(st.lists(st.lists(any_value, min_size=dim, max_size=dim), min_size=1, max_size=6)))
    vectors = kinds[rng.integers(0, len(kinds), size)]
    loose = rng.random(size) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    vectors[loose] = rng.normal(size=(int(loose.sum()), dim))
    values = np.array(draw(st.lists(any_value, min_size=1, max_size=4)))[rng.integers(0, 1, size)]
    values = values + draw(st.sampled_from([0.0, 1.0])) * rng.normal(size=size)
    scale = draw(st.sampled_from([0.0, 1e-30, 1e-9, 1.0, 1e9]))
    thetas = scale * rng.normal(size=(draw(st.integers(1, 11)), dim))
    seen = [rng.integers(0, size, draw(st.integers(0, 5))) for _ in thetas]
    if draw(st.booleans()):
        seen[0] = np.arange(size)
    allowed = rng.random(size) < draw(st.sampled_from([0.0, 0.02, 0.5, 1.0])) if draw(st.booleans()) else None
    return vectors, values, thetas, draw(st.sampled_from([1, 3, 10, 100, 500])), allowed, seen


@settings(max_examples=150, deadline=None)
@given(world=worlds())
def test_top_k_has_the_rows_scores_and_ties_of_the_reference(make_index, world):
    vectors, values, thetas, k, allowed, seen = world
    check(make_index(vectors), vectors, values, thetas, k, allowed, seen)


@pytest.mark.parametrize("dim", [16, 64, 128])
@pytest.mark.parametrize(("users", "k"), [(1, 10), (3, 100), (70, 500)])
def test_top_k_of_a_larger_catalogue(make_index, dim, users, k):
    rng = np.random.default_rng(dim + users)
    vectors = rng.normal(size=(20_000, dim))
    vectors[::7] = vectors[3]
    values = 3.0 + 0.5 * rng.normal(size=20_000)
    values[::7] = values[3]
    seen = [rng.integers(0, 20_000, 40) for _ in range(users)]
    check(make_index(vectors), vectors, values, 0.3 * rng.normal(size=(users, dim)), k, None, seen)


def test_a_batch_of_1024_users_has_the_answers_of_each_alone(make_index):
    rng = np.random.default_rng(4)
    vectors, values, thetas = rng.normal(size=(3_000, 16)), rng.normal(size=3_000), rng.normal(size=(1_024, 16))
    index = make_index(vectors)
    together = index.top_k(thetas, index.column(values), 20)
    for query in range(0, 1_024, 97):
        alone = index.top_k(thetas[query : query + 1], index.column(values), 20)
        assert together.rows[query].tolist() == alone.rows[0].tolist()
        assert together.scores[query].tolist() == alone.scores[0].tolist()


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-40, 1e-20, 1e20, 1e40, 1e100])
@pytest.mark.parametrize("theta_scale", [1e-40, 1e-20, 1.0, 1e20, 1e40])
def test_huge_and_tiny_magnitudes_are_ranked_by_the_reference(make_index, scale, theta_scale):
    rng = np.random.default_rng(2)
    vectors, thetas = scale * rng.normal(size=(2_000, 8)), theta_scale * rng.normal(size=(2, 8))
    check(make_index(vectors), vectors, np.zeros(2_000), thetas, 20)
    check(make_index(vectors), vectors, scale * rng.normal(size=2_000), thetas, 20)


def test_one_item_far_larger_than_all_others_spoils_nothing(make_index):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(5_000, 16))
    vectors[17] *= 1e12
    vectors[4_000] *= 1e-12
    check(make_index(vectors), vectors, rng.normal(size=5_000), rng.normal(size=(9, 16)), 50)


def test_items_of_ever_larger_length_have_bounds_of_their_own(make_index):
    rng = np.random.default_rng(12)
    vectors = rng.normal(size=(6 * BLOCK, 16)) * np.repeat(4.0 ** np.arange(6), BLOCK)[:, np.newaxis]
    check(make_index(vectors), vectors, np.zeros(6 * BLOCK), rng.normal(size=(20, 16)), 10)


def test_items_that_nearly_tie_are_told_apart(make_index):
    # Differences of 1e-8 between scores near 1: float32 has errors ten times as large.
    rng = np.random.default_rng(13)
    vectors = rng.normal(size=16) + 1e-8 * rng.normal(size=(3_000, 16))
    check(make_index(vectors), vectors, np.zeros(3_000), rng.normal(size=(9, 16)), 30)


def test_small_differences_of_large_products_are_told_apart(make_index):
    # Products of 1,000 cancel but for 1e-4, which float32 rounds by 6e-5.
    rng = np.random.default_rng(14)
    vectors = 1_000.0 + 1e-4 * rng.normal(size=(3_000, 2))
    check(make_index(vectors), vectors, np.zeros(3_000), np.array([[1.0, -1.0], [-2.0, 2.0]]), 30)


def test_scores_that_differ_in_the_last_bit_are_told_apart(make_index):
    # 2,000 items whose second coordinates are consecutive float64 numbers: any rounding on the way mixes them up.
    steps = np.random.default_rng(5).permutation(2_000)
    vectors = np.column_stack([np.ones(2_000), 1.0 + steps * 2.0**-52])
    check(make_index(vectors), vectors, np.zeros(2_000), np.array([[0.0, 1.0], [1.0, 1.0], [0.0, -1.0]]), 30)


def test_equal_items_beyond_any_buffer_are_ranked_in_their_order(make_index):
    vectors = np.ones((30_000, 4))
    vectors[29_999] = 2.0
    index = make_index(vectors)
    ranking = index.top_k(np.ones((2, 4)), index.column(np.zeros(30_000)), 5)
    assert ranking.rows.tolist() == [[29_999, 0, 1, 2, 3]] * 2


def test_column_follows_new_values_without_a_new_index(make_index):
    vectors = np.random.default_rng(6).normal(size=(1_000, 4))
    index, theta = make_index(vectors), np.ones((1, 4))
    for seed in range(3):
        values = np.random.default_rng(seed).normal(size=1_000)
        values.flags.writeable = False
        check(index, vectors, values, theta, 10)
        check(index, vectors, values, theta, 10)


def test_catalogue_without_embeddings_is_ranked_by_its_column(make_index):
    values = np.array([1.0, 3.0, 2.0, 3.0])
    check(make_index(np.zeros((4, 0))), np.zeros((4, 0)), values, np.zeros((2, 0)), 3)


def test_no_items_give_no_rows(make_index):
    index = make_index(np.zeros((0, 3)))
    assert index.top_k(np.ones((2, 3)), index.column(np.zeros(0)), 5).counts.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("thetas", "k", "excluded", "message"),
    [
        (np.zeros((1, 2)), 0, None, "k must be at least 1, got 0"),
        (np.zeros((1, 3)), 1, None, r"thetas must have shape \[B, 2\], got \(1, 3\)"),
        (np.zeros((2, 2)), 1, [np.zeros(0, dtype=np.int64)], "excluded must have 2 parts, got 1"),
    ],
)
def test_ill_fitting_queries_are_refused(make_index, thetas, k, excluded, message):
    index = make_index(np.zeros((5, 2)))
    with pytest.raises(ValueError, match=message):
        index.top_k(thetas, index.column(np.zeros(5)), k, excluded)


def test_ill_fitting_vectors_and_columns_are_refused():
    with pytest.raises(ValueError, match="vectors must be C-contiguous float64"):
        ItemIndex(np.zeros((5, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="D must be at most 1024, got 1025"):
        ItemIndex(np.zeros((1, 1025)))
    with pytest.raises(ValueError, match=r"a column must have shape \[5\]"):
        ItemIndex(np.zeros((5, 2))).column(np.zeros(4))


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("users", [1, 30, 100])
def test_any_number_of_threads_gives_the_same(monkeypatch, threads, users):
    rng = np.random.default_rng(8)
    vectors, thetas = rng.normal(size=(6_000, 8)), rng.normal(size=(users, 8))
    vectors[::3] = vectors[0]
    index = ItemIndex(vectors)
    monkeypatch.setattr(index, "_threads_for", lambda *_: threads)
    for is_cached in (True, False):
        monkeypatch.setattr(index, "_is_cached", is_cached)
        check(index, vectors, np.zeros(6_000), thetas, 40, None, [np.array([0, 3])] * users)


def test_without_its_bound_the_filter_loses_items():
    # What the tests above need the bound for: coded to 8 bits, items near the tenth come in another order, and a filter
    # that trusts the codes drops some of the best.
    rng = np.random.default_rng(9)
    vectors, values, thetas = rng.normal(size=(5_000, 16)), np.zeros(5_000), rng.normal(size=(64, 16))
    index = ItemIndex(vectors)
    index.packed = index.packed._replace(errors=0 * index.packed.errors, norms=0 * index.packed.norms)
    ranking = index.top_k(thetas, index.column(values), 10)
    wrong = [ranking.rows[q].tolist() != expected(vectors, values, theta, 10)[0] for q, theta in enumerate(thetas)]
    assert sum(wrong) > 5


@settings(max_examples=100, deadline=None)
@given(world=worlds(), slack=st.sampled_from([0.0, 1e-9, 0.1]))
def test_shortlist_holds_everything_that_may_equal_the_kth(world, slack):
    vectors, values, thetas, k, allowed, seen = world
    index = ItemIndex(vectors)
    found = index.shortlist(thetas[0], index.column(values, allowed), k, seen[0], slack)
    wanted = np.ones(len(vectors), dtype=bool) if allowed is None else allowed.copy()
    wanted[seen[0]] = False
    scores = np.where(wanted, values + reference_scores(thetas[0], vectors), -np.inf)
    kth = np.sort(scores)[::-1][min(k, len(scores)) - 1]
    near = np.flatnonzero(wanted & (scores >= kth - slack))
    if found is None:
        assert len(near) > 4_096 or not np.isfinite(np.abs(thetas).max() * np.abs(vectors).max())
        return
    assert (np.diff(found) > 0).all()
    assert wanted[found].all()
    assert set(near.tolist()) <= set(found.tolist())


def test_shortlist_is_short_and_gives_up_when_too_many_tie():
    rng = np.random.default_rng(10)
    index = ItemIndex(rng.normal(size=(50_000, 16)))
    found = index.shortlist(rng.normal(size=16), index.column(np.zeros(50_000)), 10)
    assert 10 <= len(found) < 40
    same = ItemIndex(np.ones((50_000, 2)))
    assert same.shortlist(np.ones(2), same.column(np.zeros(50_000)), 10) is None


def test_warming_up_leaves_nothing_to_compile():
    module.warm_up()
    compiled = [getattr(module.kernels, name) for name in ("rank_all", "rank", "find_part", "merge")]
    before = [len(function.signatures) for function in compiled]
    vectors = np.random.default_rng(11).normal(size=(300_000, 4))
    vectors.flags.writeable = False
    index = ItemIndex(vectors)
    column = index.column(np.zeros(300_000))
    for users in (1, 3, 600):
        index.top_k(np.ones((users, 4)), column, 5)
    index.shortlist(np.ones(4), column, 5)
    assert [len(function.signatures) for function in compiled] == before


@pytest.mark.parametrize("largest", [1.0, 100.0])
@pytest.mark.parametrize("unchanged", [0, 511, 512, 1_300, 2_000])
def test_an_index_changed_from_another_is_the_one_made_anew(unchanged, largest):
    rng = np.random.default_rng(unchanged)
    before = rng.normal(size=(2_000, 6))
    after = np.concatenate((before[:unchanged], rng.normal(size=(400, 6)), before[unchanged:]))
    after[unchanged] = largest
    changed, anew = ItemIndex(before).changed(after, unchanged), ItemIndex(after)
    for name in ("codes", "scales", "errors", "norms", "vectors"):
        assert (getattr(changed.packed, name) == getattr(anew.packed, name)).all()
    assert (changed.packed.unit, changed.packed.largest) == (anew.packed.unit, anew.packed.largest)
