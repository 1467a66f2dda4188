import numpy as np
import pytest

from recommender.sequence.model import PRIOR_COUNT, STAGES, SequenceModel
from recommender.statistics import StatisticsView
from schemas.errors import ModelError
from schemas.events import Item


def model_of(**changed):
    given = {
        "item_ids": ("a", "b"),
        "inputs": np.array([[[1.0, 0.0], [0.0, 1.0]]]),
        "stages": np.zeros((STAGES, 2)),
        "outputs": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "bias": np.array([0.5, -0.5]),
        "rates": np.array([0.7]),
        "popularity": np.array([2.0, 4.0]),
        "counts": np.array([10, 20]),
        "popularity_weight": 0.5,
    }
    return SequenceModel(**{**given, **changed})


def items_of(*item_ids):
    return [Item(item_id=item_id) for item_id in item_ids]


def statistics_of(*counts):
    return StatisticsView(np.array(counts), np.zeros(len(counts), dtype=np.int64), sum(counts), 0)


def test_alignment_follows_the_catalogue_and_leaves_new_items_zero():
    aligned = model_of().align(items_of("b", "new", "a"))
    assert aligned.rows.tolist() == [1, -1, 0]
    assert aligned.vectors.tolist() == [[3.0, 4.0], [0.0, 0.0], [1.0, 2.0]]
    assert aligned.bias.tolist() == [-0.5, 0.0, 0.5]
    assert not aligned.vectors.flags.writeable
    assert aligned.vectors.flags.c_contiguous


def test_prior_is_bias_and_the_log_of_popularity():
    # Nothing since training: q = (2.3, 4.3) / 6.6.
    aligned = model_of().align(items_of("a", "b"))
    expected = np.array([0.5, -0.5]) + 0.5 * np.log(np.array([2.0, 4.0]) + PRIOR_COUNT) - 0.5 * np.log(6.6)
    np.testing.assert_allclose(aligned.prior(statistics_of(10, 20)), expected, rtol=1e-7)


def test_ratings_since_training_move_the_prior_and_give_new_items_a_place():
    aligned = model_of(popularity_weight=1.0, bias=np.zeros(2)).align(items_of("a", "b", "new"))
    before, after = aligned.prior(statistics_of(10, 20, 0)), aligned.prior(statistics_of(10, 20, 9))
    assert before.argmin() == 2
    assert after.argmax() == 2
    # 9.3 of 2.3 + 4.3 + 9.3
    assert after[2] == pytest.approx(np.log(9.3 / 15.9), rel=1e-7)


def test_statistics_that_know_less_than_training_did_take_nothing_away():
    aligned = model_of().align(items_of("a", "b"))
    assert aligned.prior(statistics_of(0, 0)).tolist() == aligned.prior(statistics_of(10, 20)).tolist()


def test_prior_is_made_once_for_a_view_and_apart_for_each_model():
    statistics = statistics_of(10, 20)
    one, other = (model_of(bias=bias).align(items_of("a", "b")) for bias in (np.zeros(2), np.ones(2)))
    assert one.prior(statistics) is one.prior(statistics)
    np.testing.assert_allclose(other.prior(statistics) - one.prior(statistics), 1.0)


def test_numbers_are_those_that_a_release_keeps():
    assert model_of(bias=np.array([0.1, 0.2])).bias.tolist() == np.array([0.1, 0.2], dtype=np.float32).tolist()


def test_model_comes_back_from_its_tensors():
    model = model_of()
    again = SequenceModel.from_tensors(*model.to_tensors())
    for name in ("inputs", "stages", "outputs", "bias", "rates", "popularity", "counts"):
        assert getattr(again, name).tolist() == getattr(model, name).tolist()
    assert (again.item_ids, again.popularity_weight, again.type) == (("a", "b"), 0.5, "sequence")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"outputs": np.zeros((3, 2))}, r"outputs must have shape \[2, 2\], got \[3, 2\]"),
        ({"stages": np.zeros((3, 2))}, r"stages must have shape \[10, 2\], got \[3, 2\]"),
        ({"inputs": np.zeros((2, 2, 2))}, r"inputs must have shape \[1, 2, 2\]"),
        ({"bias": np.array([np.nan, 0.0])}, "bias must be finite"),
        ({"rates": np.array([0.0])}, "rates must not be below"),
        ({"popularity": np.array([-1.0, 0.0])}, "popularity must not be below 0, got -1.0"),
        ({"item_ids": ("a", "a")}, "item ids must be distinct"),
        ({"popularity_weight": float("inf")}, "popularity_weight must be finite"),
    ],
)
def test_what_is_no_model_is_refused(changed, message):
    with pytest.raises(ModelError, match=message):
        model_of(**changed)


@pytest.mark.parametrize(
    "missing", ["inputs", "stages", "outputs", "bias", "rates", "popularity", "counts", "item_ids"]
)
def test_a_release_without_a_tensor_is_refused(missing):
    tensors, metadata = model_of().to_tensors()
    del tensors[missing]
    with pytest.raises(ModelError, match=missing):
        SequenceModel.from_tensors(tensors, metadata)
