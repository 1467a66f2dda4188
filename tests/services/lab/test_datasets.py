import pandas as pd
import pytest
import structlog

from schemas.codec import RatingDecoder, encode
from schemas.errors import DataError
from services.lab import movielens
from services.lab.datasets import DATASETS, load_dataset, make_synthetic, rating_events
from services.lab.downloads import cache_directory
from services.lab.synthetic import Sizes


@pytest.fixture(scope="module")
def real():
    """Return MovieLens-100k, from the user's cache or its sources."""
    try:
        return load_dataset("movielens-100k")
    except DataError as error:
        pytest.skip(f"no way to MovieLens-100k: {error}")


def test_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match="data set must be one of movielens-100k, synthetic, got 'netflix'"):
        load_dataset("netflix")


def test_synthetic_needs_no_network_and_follows_its_seed(tmp_path):
    dataset = load_dataset("synthetic", cache=tmp_path, seed=5)
    assert list(tmp_path.iterdir()) == []
    assert (len(dataset.items), len(dataset.ratings)) == (1_682, 100_000)
    pd.testing.assert_frame_equal(dataset.ratings, make_synthetic(5).ratings)


def test_events_pass_the_codec():
    dataset = make_synthetic(0, Sizes(users=3, items=4, ratings=9))
    decoder = RatingDecoder(0.5, 5.0)
    events = [decoder.decode(encode(event)) for event in rating_events(dataset.ratings)]
    assert [event.rating for event in events] == dataset.ratings["rating"].tolist()
    assert [event.ts_ms for event in events] == dataset.ratings["ts_ms"].tolist()


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_has_the_same_shape(name, request):
    dataset = request.getfixturevalue("real") if name == "movielens-100k" else load_dataset(name)
    assert dataset.name == name
    assert dataset.ratings["ts_ms"].is_monotonic_increasing
    assert set(dataset.ratings["item_id"]) <= {item.item_id for item in dataset.items}
    assert dataset.licence
    assert dataset.source
    event = next(rating_events(dataset.ratings))
    assert RatingDecoder(0.5, 5.0).decode(encode(event)) == event


def test_real_data_is_the_published_one(real):
    assert (len(real.items), len(real.ratings), real.ratings["user_id"].nunique()) == (1_682, 100_000, 943)
    assert real.ratings.iloc[0].tolist() == ["259", "255", 4.0, 874724710000]
    assert sum(item.genres == () for item in real.items) == 2
    assert [item.item_id for item in real.items if item.year is None] == ["267"]
    assert "Harper" in real.licence


@pytest.mark.usefixtures("real")
def test_licence_is_logged_when_the_data_is_fetched_and_not_again(tmp_path):
    cached = cache_directory() / "movielens-100k"
    sources = [("kept", lambda: {name: (cached / name).read_bytes() for name in movielens.CHECKSUMS})]
    with structlog.testing.capture_logs() as logs:
        movielens.load_movielens(tmp_path, sources)
        movielens.load_movielens(tmp_path, sources)
    (entry,) = [log for log in logs if log["event"] == "dataset.fetched"]
    assert entry["licence"] == movielens.LICENCE
