import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.embeddings.layers import Layer
from recommender.embeddings.pca import _components, train_pca
from recommender.embeddings.training import PcaSettings, baseline_loss, split_rows


def drawn_features(seed, rows=40, columns=12):
    return (np.random.default_rng(seed).random((rows, columns)) < 0.3).astype(np.float32)


def rebuilt(trained, features):
    (encoder,), (decoder,) = trained.layers, trained.decoder
    return decoder.apply(encoder.apply(features.astype(np.float64)))


def test_two_points_span_one_component_by_hand():
    # Centred rows are ±(1.5, 2), length 2.5, along (0.6, 0.8); one direction is all there is, so the second is zero.
    components = _components(np.array([[1.5, 2.0], [-1.5, -2.0]]), 2)
    np.testing.assert_allclose(components, [[0.6, 0.8], [0.0, 0.0]], atol=1e-15)


def test_the_largest_loading_of_a_component_is_positive():
    components = _components(np.array([[2.0, -3.0], [-2.0, 3.0]]), 1)
    assert components[0, 1] > 0 > components[0, 0]


@given(seed=st.integers(0, 2**32))
def test_reported_losses_are_those_of_rebuilding_the_features(seed):
    features = drawn_features(seed)
    settings = PcaSettings(dim=5)
    trained = train_pca(features, settings)
    train, validation = split_rows(len(features), settings.validation, settings.seed)
    errors = (features - rebuilt(trained, features)) ** 2
    assert trained.losses[-1].train == pytest.approx(errors[train].mean(), abs=1e-6)
    assert trained.losses[-1].validation == pytest.approx(errors[validation].mean(), abs=1e-6)
    assert trained.baseline == baseline_loss(features[train], features[validation])


def test_losses_are_one_a_component_and_never_rise():
    seen = []
    trained = train_pca(drawn_features(1), PcaSettings(dim=6), seen.append)
    assert tuple(seen) == trained.losses
    assert [loss.step for loss in seen] == [1, 2, 3, 4, 5, 6]
    for before, after in itertools.pairwise(seen):
        assert after.train <= before.train
        assert after.validation <= before.validation


def test_as_many_components_as_columns_rebuild_the_training_rows():
    trained = train_pca(drawn_features(2), PcaSettings(dim=12))
    assert trained.losses[-1].train == pytest.approx(0.0, abs=1e-12)


def test_components_beyond_the_rank_are_zero():
    trained = train_pca(drawn_features(3, rows=4), PcaSettings(dim=8))
    layer: Layer = trained.layers[0]
    assert layer.weight.shape == (8, 12)
    assert not layer.weight[2:].any()
    assert not layer.bias[2:].any()


def test_identical_items_have_no_component_and_no_loss():
    trained = train_pca(np.ones((5, 3), np.float32), PcaSettings(dim=2))
    assert not trained.layers[0].weight.any()
    assert trained.losses[-1].validation == trained.baseline == 0.0


def test_training_twice_gives_the_same_arrays():
    first, again = (train_pca(drawn_features(4), PcaSettings(dim=3)).layers[0] for _ in range(2))
    assert (first.weight == again.weight).all()
    assert (first.bias == again.bias).all()
