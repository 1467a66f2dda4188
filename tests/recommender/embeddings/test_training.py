import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.embeddings.training import AutoencoderSettings, PcaSettings, baseline_loss, split_rows


@given(n=st.integers(2, 400), share=st.floats(0.01, 0.99), seed=st.integers(0, 2**40))
def test_a_split_holds_every_row_once_and_neither_side_is_empty(n, share, seed):
    train, validation = split_rows(n, share, seed)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(n))
    assert len(train) >= 1
    assert len(validation) == min(max(round(share * n), 1), n - 1)


def test_a_split_is_its_seeds():
    first, again, other = (split_rows(100, 0.1, seed)[1].tolist() for seed in (7, 7, 8))
    assert first == again != other


def test_one_item_cannot_be_split():
    with pytest.raises(ValueError, match="at least 2 items with features, got 1"):
        split_rows(1, 0.1, 7)


def test_baseline_is_the_error_of_the_column_means():
    # Means (0.5, 1); errors of (1, 0): 0.25 and 1, of (0, 1): 0.25 and 0; mean 1.5 / 4.
    train = np.float32([[0, 1], [1, 1]])
    assert baseline_loss(train, np.float32([[1, 0], [0, 1]])) == 0.375


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"validation": 0.0}, r"validation must be in \(0, 1\), got 0.0"),
        ({"validation": 1.0}, r"validation must be in \(0, 1\), got 1.0"),
    ],
)
@pytest.mark.parametrize("settings", [AutoencoderSettings, PcaSettings])
def test_settings_out_of_range_are_refused(settings, fault, message):
    with pytest.raises(ValueError, match=message):
        settings(**fault)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_learning_rate_must_be_finite_and_positive(rate):
    with pytest.raises(ValueError, match="learning_rate must be finite and above 0"):
        AutoencoderSettings(learning_rate=rate)


@pytest.mark.parametrize("name", ["hidden", "epochs", "batch", "threads"])
def test_sizes_of_the_autoencoder_are_at_least_one(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        AutoencoderSettings(**{name: 0})
