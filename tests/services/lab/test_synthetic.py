import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lab.synthetic import FIRST_YEAR, GENRES, LAST_YEAR, Sizes, generate

SMALL = Sizes(users=30, items=50, ratings=600)


def test_same_seed_gives_the_same_world():
    items, ratings = generate(3, SMALL)
    items_again, ratings_again = generate(3, SMALL)
    assert items == items_again
    pd.testing.assert_frame_equal(ratings, ratings_again)


def test_another_seed_gives_another_world():
    assert not generate(3, SMALL)[1].equals(generate(4, SMALL)[1])


@settings(max_examples=25)
@given(users=st.integers(1, 9), items=st.integers(1, 9), data=st.data())
def test_any_sizes_give_what_was_asked_for(users, items, data):
    asked = data.draw(st.integers(0, users * items))
    described, ratings = generate(data.draw(st.integers(0, 99)), Sizes(users, items, asked))
    assert len(described) == items
    assert len(ratings) == asked
    assert not ratings.duplicated(["user_id", "item_id"]).any()
    assert set(ratings["item_id"]) <= {item.item_id for item in described}
    assert set(ratings["rating"]) <= set(np.arange(0.5, 5.5, 0.5))
    assert (ratings["ts_ms"].diff().dropna() > 0).all()


def test_everybody_rates_when_there_are_enough_ratings():
    _, ratings = generate(0, Sizes(users=40, items=20, ratings=100))
    assert ratings["user_id"].nunique() == 40


def test_columns_have_the_data_set_s_types():
    _, ratings = generate(0, SMALL)
    assert list(ratings.columns) == ["user_id", "item_id", "rating", "ts_ms"]
    assert isinstance(ratings["user_id"].iloc[0], str)
    assert (ratings["rating"].dtype, ratings["ts_ms"].dtype) == (np.float64, np.int64)


def test_items_have_one_to_three_genres_and_a_year():
    items, _ = generate(0, SMALL)
    assert all(1 <= len(item.genres) <= 3 and set(item.genres) <= set(GENRES) for item in items)
    assert all(FIRST_YEAR <= item.year <= LAST_YEAR for item in items)
    assert len({item.item_id for item in items}) == len(items)


def test_popularity_follows_zipf():
    # One rating a user makes each draw independent: the most popular of 20 items has share 1 / H_20 = 0.2780 of
    # 20,000 draws, standard deviation sqrt(0.278 x 0.722 / 20000) = 0.0032; five of them are 0.016.
    _, ratings = generate(0, Sizes(users=20_000, items=20, ratings=20_000, zipf=1.0))
    shares = ratings["item_id"].value_counts(normalize=True)
    assert abs(shares.iloc[0] - 0.2780) < 0.016


def test_tastes_are_there_to_be_learned():
    # Ratings of a user within a genre lie closer together than ratings of the user at large.
    items, ratings = generate(0, Sizes(users=50, items=300, ratings=8_000))
    genre = {item.item_id: item.genres[0] for item in items if len(item.genres) == 1}
    single = ratings[ratings["item_id"].isin(genre)].assign(genre=lambda rows: rows["item_id"].map(genre))
    within = single.groupby(["user_id", "genre"])["rating"].var().mean()
    assert within < 0.6 * single.groupby("user_id")["rating"].var().mean()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"users": 0}, "users and items must be at least 1, got 0 and 1682"),
        ({"users": 2, "items": 3, "ratings": 7}, r"ratings must be in \[0, 6\] \(users x items\), got 7"),
        ({"zipf": -1.0}, "zipf must be at least 0, got -1.0"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        Sizes(**sizes)
