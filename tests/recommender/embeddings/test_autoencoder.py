import numpy as np
import pytest
import torch

from recommender.embeddings.autoencoder import encode, train_autoencoder
from recommender.embeddings.layers import encode_features
from recommender.embeddings.training import AutoencoderSettings, split_rows
from schemas.errors import ModelError

FAST = AutoencoderSettings(dim=3, hidden=8, epochs=4, batch=16, learning_rate=1e-2)


def drawn_features(seed=1, rows=60, columns=12):
    return (np.random.default_rng(seed).random((rows, columns)) < 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    return train_autoencoder(drawn_features(), FAST)


def as_torch(layers):
    return [torch.from_numpy(array) for layer in layers for array in (layer.weight, layer.bias)]


def test_layers_are_f_hidden_d_hidden_f(trained):
    assert [layer.weight.shape for layer in trained.layers] == [(8, 12), (3, 8)]
    assert [layer.weight.shape for layer in trained.decoder] == [(8, 3), (12, 8)]


def test_numpy_and_torch_give_the_same_codes(trained):
    features = drawn_features(seed=2, rows=500)
    codes = torch.nn.functional.normalize(encode(as_torch(trained.layers), torch.from_numpy(features))).numpy()
    np.testing.assert_allclose(encode_features(trained.layers, features), codes, atol=1e-6)


def test_reported_losses_are_those_of_rebuilding_the_features(trained):
    features = drawn_features().astype(np.float64)
    hidden, code = trained.layers
    wide, out = trained.decoder
    codes = code.apply(np.maximum(hidden.apply(features), 0))
    rebuilt = 1 / (1 + np.exp(-out.apply(np.maximum(wide.apply(codes), 0))))
    errors = (features - rebuilt) ** 2
    train, validation = split_rows(60, FAST.validation, FAST.seed)
    assert trained.losses[-1].train == pytest.approx(errors[train].mean(), rel=1e-5)
    assert trained.losses[-1].validation == pytest.approx(errors[validation].mean(), rel=1e-5)


def test_training_lowers_both_losses_below_the_column_means():
    # Two kinds of items, opposite in every column: one number tells them apart, so the loss goes to zero.
    kinds = np.float32([[1, 1, 0, 0], [0, 0, 1, 1]])
    features = kinds[np.random.default_rng(5).integers(0, 2, size=80)]
    settings = AutoencoderSettings(dim=2, hidden=16, epochs=60, batch=16, learning_rate=1e-2)
    trained = train_autoencoder(features, settings)
    assert trained.losses[-1].train < 0.01
    assert trained.losses[-1].validation < 0.01
    assert trained.baseline > 0.2


def test_the_same_seed_gives_the_same_bits_and_another_does_not(trained):
    torch.manual_seed(99)
    again = train_autoencoder(drawn_features(), FAST)
    for layer, twin in zip(trained.layers, again.layers, strict=True):
        assert (layer.weight == twin.weight).all()
        assert (layer.bias == twin.bias).all()
    other = train_autoencoder(
        drawn_features(), AutoencoderSettings(dim=3, hidden=8, epochs=4, batch=16, learning_rate=1e-2, seed=8)
    )
    assert (other.layers[0].weight != trained.layers[0].weight).any()


def test_global_randomness_and_threads_are_left_alone():
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train_autoencoder(drawn_features(), FAST)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_every_epoch_is_told_once_in_order():
    seen = []
    trained = train_autoencoder(drawn_features(), FAST, seen.append)
    assert [loss.step for loss in seen] == [1, 2, 3, 4]
    assert tuple(seen) == trained.losses


def test_a_loss_that_is_no_number_stops_the_training():
    features = drawn_features()
    features[0, 0] = np.nan
    with pytest.raises(ModelError, match="training diverged: after epoch 1 the losses are"):
        train_autoencoder(features, FAST)


def test_two_items_are_enough():
    trained = train_autoencoder(drawn_features(rows=2), FAST)
    assert len(trained.losses) == 4
