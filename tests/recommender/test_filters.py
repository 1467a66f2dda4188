import numpy as np
import pytest

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.filters import allowed_rows, filter_key, mask
from schemas.events import Filters, GenreFilter, Item, YearFilter

ITEMS = [
    Item(item_id="a", genres=("Drama", "Crime"), year=1994, attributes={"country": "US", "rank": 1}),
    Item(item_id="b", genres=("Comedy",), year=1999, attributes={"country": "FR", "rank": 2.0}),
    Item(item_id="c", genres=(), year=None, attributes={"rank": True}),
    Item(item_id="d", genres=("Drama",), year=2003, attributes={"country": ["US", "FR"]}),
]


@pytest.fixture(scope="module")
def catalogue():
    return build_catalogue([CatalogueEntry(item, offset) for offset, item in enumerate(ITEMS)])


CASES = [
    (Filters(), "abcd"),
    (Filters(genres=GenreFilter(any=("Comedy", "Crime"))), "ab"),
    (Filters(genres=GenreFilter(all=("Drama", "Crime"))), "a"),
    (Filters(genres=GenreFilter(none=("Drama",))), "bc"),
    (Filters(genres=GenreFilter(any=("drama",))), ""),
    (Filters(genres=GenreFilter(any=("Drama",), none=("Crime",))), "d"),
    (Filters(year=YearFilter(min=1999)), "bd"),
    (Filters(year=YearFilter(max=1999)), "ab"),
    (Filters(year=YearFilter(min=1999, max=1999)), "b"),
    (Filters(year=YearFilter(min=2004, max=1990)), ""),
    (Filters(attributes={"country": "US"}), "a"),
    (Filters(attributes={"country": ("US", "FR")}), "ab"),
    (Filters(attributes={"country": ()}), ""),
    (Filters(attributes={"rank": 1}), "a"),
    (Filters(attributes={"rank": True}), "c"),
    (Filters(attributes={"rank": 2}), "b"),
    (Filters(attributes={"rank": (1, 2), "country": "FR"}), "b"),
    (Filters(attributes={"colour": "red"}), ""),
    (Filters(genres=GenreFilter(any=("Drama",)), year=YearFilter(min=2000), attributes={}), "d"),
]


@pytest.mark.parametrize(("filters", "expected"), CASES, ids=[str(i) for i in range(len(CASES))])
def test_items_meet_every_condition_asked_for(filters, expected, catalogue):
    allowed = mask(filters, catalogue)
    assert "".join(np.array(list("abcd"))[allowed]) == expected


def test_different_filters_have_different_keys():
    assert len({filter_key(filters) for filters, _ in CASES}) == len(CASES)


def test_rows_are_in_catalogue_order_without_candidates(catalogue):
    assert np.asarray(allowed_rows(catalogue)).tolist() == [0, 1, 2, 3]


def test_candidates_give_the_order_and_unknown_and_repeated_ones_are_dropped(catalogue):
    assert allowed_rows(catalogue, candidates=("d", "nobody", "a", "d")).tolist() == [3, 0]


def test_excluded_seen_and_filtered_rows_are_left_out(catalogue):
    rows = allowed_rows(
        catalogue,
        candidates=("d", "c", "b", "a"),
        exclude=("b", "nobody"),
        exclude_rows=np.array([0]),
        allowed=np.array([True, True, False, True]),
    )
    assert rows.tolist() == [3]


def test_withdrawn_items_are_never_allowed():
    catalogue = build_catalogue([CatalogueEntry(item, i, listed=i != 1) for i, item in enumerate(ITEMS)])
    assert np.asarray(allowed_rows(catalogue)).tolist() == [0, 2, 3]
    assert allowed_rows(catalogue, candidates=("b", "c")).tolist() == [2]
