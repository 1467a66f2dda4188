import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.embeddings.features import FeatureEncoder
from schemas.events import Item

ITEMS = (
    Item(item_id="a", genres=("Drama", "Comedy"), year=1994),
    Item(item_id="b", genres=("Drama",), year=1990),
    Item(item_id="c", genres=(), year=None),
)

items = st.builds(
    Item,
    item_id=st.text(min_size=1, max_size=4),
    genres=st.lists(st.text(max_size=3), max_size=4).map(tuple),
    year=st.none() | st.integers(),
)


def test_columns_are_sorted_genres_then_ascending_years():
    encoder = FeatureEncoder.fit(ITEMS)
    assert encoder.genres == ("Comedy", "Drama")
    assert encoder.years == (1990, 1994)
    assert encoder.size == 4
    expected = [[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(encoder.encode(ITEMS), np.float32(expected))


@pytest.mark.parametrize(
    ("year", "column"), [(1, 0), (1990, 0), (1991, 0), (1992, 0), (1993, 1), (1994, 1), (2030, 1), (10**30, 1)]
)
def test_an_unseen_year_takes_the_nearest_known_one_and_of_two_the_earlier(year, column):
    encoder = FeatureEncoder(genres=(), years=(1990, 1994))
    assert encoder.encode([Item(item_id="x", year=year)])[0].tolist() == [float(column == 0), float(column == 1)]


def test_unseen_genres_missing_years_and_repeats_set_no_column_of_their_own():
    encoder = FeatureEncoder(genres=("Comedy", "Drama"), years=(1990,))
    strange = Item(item_id="x", genres=("Drama", "Drama", "drama", "Noir"), year=None)
    assert encoder.encode([strange])[0].tolist() == [0.0, 1.0, 0.0]


def test_a_year_means_nothing_where_no_year_was_known():
    encoder = FeatureEncoder(genres=("Comedy",), years=())
    assert encoder.encode([Item(item_id="x", year=1999)])[0].tolist() == [0.0]


def test_items_without_any_feature_cannot_be_fitted():
    with pytest.raises(ValueError, match="at least one known genre or year, got neither"):
        FeatureEncoder.fit([Item(item_id="x")])


def test_state_survives_json():
    encoder = FeatureEncoder.fit(ITEMS)
    assert FeatureEncoder.from_state(json.loads(json.dumps(encoder.to_state()))) == encoder


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "genres, a list of strings"),
        ({"genres": [1], "years": []}, "genres, a list of strings"),
        ({"genres": [], "years": ["1990"]}, "years, a list of integers"),
        ({"genres": [], "years": [True]}, "years, a list of integers"),
        ({"genres": ["b", "a"], "years": []}, "genres must be sorted and distinct"),
        ({"genres": ["a"], "years": [1990, 1990]}, "years must be ascending and distinct"),
    ],
)
def test_a_state_that_is_none_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        FeatureEncoder.from_state(state)


@given(known=st.lists(items, max_size=5), asked=st.lists(items, max_size=5))
def test_any_item_encodes_to_zeros_and_ones_with_at_most_one_year(known, asked):
    encoder = FeatureEncoder.fit([*known, ITEMS[0]])
    features = encoder.encode(asked)
    assert features.shape == (len(asked), encoder.size)
    assert features.dtype == np.float32
    assert set(np.unique(features).tolist()) <= {0.0, 1.0}
    for item, row in zip(asked, features, strict=True):
        assert row[: len(encoder.genres)].sum() == len(set(item.genres) & set(encoder.genres))
        assert row[len(encoder.genres) :].sum() == (item.year is not None)


@given(known=st.lists(items, min_size=1, max_size=5))
def test_a_fitted_item_sets_exactly_its_own_columns(known):
    encoder = FeatureEncoder.fit([*known, ITEMS[0]])
    names = [*encoder.genres, *encoder.years]
    for item, row in zip(known, encoder.encode(known), strict=True):
        said = {names[column] for column in np.flatnonzero(row)}
        assert said == set(item.genres) | ({item.year} - {None})
