import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.topk import reference_scores, top_k

few_values = st.lists(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0]), max_size=30)


def oracle(scores, ties, k):
    return sorted(range(len(scores)), key=lambda i: (-scores[i], ties[i], i))[:k]


@given(scores=few_values, k=st.integers(0, 35))
def test_ties_go_to_the_first_position(scores, k):
    assert top_k(np.array(scores), None, k).tolist() == oracle(scores, [0] * len(scores), k)


@given(data=st.data(), scores=few_values, k=st.integers(0, 35))
def test_ties_go_to_the_lowest_key_then_to_the_first_position(data, scores, k):
    ties = data.draw(st.lists(st.integers(0, 4), min_size=len(scores), max_size=len(scores)))
    found = top_k(np.array(scores), np.array(ties, dtype=np.uint64), k)
    assert found.tolist() == oracle(scores, ties, k)


@given(scores=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=50), k=st.integers(0, 60))
def test_top_k_is_the_head_of_the_whole_order(scores, k):
    values = np.array(scores)
    assert top_k(values, None, k).tolist() == top_k(values, None, len(scores))[:k].tolist()


def test_negative_k_and_ill_fitting_ties_are_refused():
    with pytest.raises(ValueError, match="k must be at least 0, got -1"):
        top_k(np.zeros(2), None, -1)
    with pytest.raises(ValueError, match="tie_order must have the shape of scores"):
        top_k(np.zeros(2), np.zeros(3, dtype=np.int64), 1)


def test_reference_score_adds_the_dimensions_in_order():
    # In this order 1e16 swallows the first 1 and not the last: (0 + 1 + 1e16) - 1e16 + 1 = 1; any other order differs.
    vectors = np.array([[1.0, 1e16, -1e16, 1.0]])
    assert reference_scores(np.ones(4), vectors).tolist() == [1.0]


@pytest.mark.parametrize("size", [1, 2, 7, 4096, 4097, 9000])
def test_identical_rows_get_identical_values_at_every_position_and_size(size):
    rng = np.random.default_rng(1)
    theta, x = rng.normal(size=16), rng.normal(size=16)
    vectors = rng.normal(size=(size, 16))
    same = np.arange(0, size, 3)
    vectors[same] = x
    total = 0.0
    for a, b in zip(theta.tolist(), x.tolist(), strict=True):
        total += a * b
    assert set(reference_scores(theta, vectors)[same].tolist()) == {total}
    assert set(reference_scores(theta, np.asfortranarray(vectors))[same].tolist()) == {total}


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="theta must have shape"):
        reference_scores(np.zeros(3), np.zeros((5, 4)))
