"""Which catalogue rows a request allows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recommender.arrays import Flags, Integers
from recommender.catalogue import Catalogue
from recommender.rows import AllBut
from schemas.events import AttributeValue, Filters, GenreFilter, Item, YearFilter

_Condition = Callable[[Item], bool]


def filter_key(filters: Filters) -> str:
    """Return a text that is equal for filters asking the same, to keep masks by.

    >>> filter_key(Filters(attributes={"a": 1, "b": 2})) == filter_key(Filters(attributes={"b": 2, "a": 1}))
    True
    """
    return repr((filters.genres, filters.year, sorted(filters.attributes.items(), key=lambda pair: pair[0])))


def mask(filters: Filters, catalogue: Catalogue) -> Flags:
    """Return which items meet every condition of ``filters``, shape [N].

    A pure function of its arguments: keep the answer by (:func:`filter_key`, catalogue). Genres and attributes are
    compared as they are written. An item without a year fails a year condition, one without the attribute an
    attribute condition. ``true`` is no number; 1 and 1.0 are equal.
    """
    conditions = [
        *_genre_conditions(filters.genres),
        *_year_conditions(filters.year),
        *(_attribute_condition(name, wanted) for name, wanted in filters.attributes.items()),
    ]
    if not conditions:
        return np.ones(catalogue.size, dtype=np.bool_)
    met = (all(condition(item) for condition in conditions) for item in catalogue.items)
    return np.fromiter(met, dtype=np.bool_, count=catalogue.size)


def allowed_rows(
    catalogue: Catalogue,
    *,
    candidates: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    exclude_rows: Integers | None = None,
    allowed: Flags | None = None,
) -> Integers | AllBut:
    """Return the rows that may be recommended, in the order that decides ties, shape [M]; an array of them, or as good.

    Args:
        catalogue: the items; withdrawn ones are never allowed.
        candidates: ids in the request's order (a repeat counts once, unknown ones are dropped); None for all items in
            catalogue order.
        exclude: ids left out; unknown ones say nothing.
        exclude_rows: rows left out, as those the user has seen.
        allowed: a mask of :func:`mask`, shape [N].
    """
    left_out = [catalogue.unlisted]
    if len(exclude):
        excluded = catalogue.rows_of(list(dict.fromkeys(exclude)))
        left_out.append(excluded[excluded >= 0])
    if exclude_rows is not None:
        left_out.append(exclude_rows)
    if candidates is None and allowed is None:
        parts = [rows for rows in left_out if len(rows)]
        return AllBut(catalogue.size, np.sort(parts[0]) if len(parts) == 1 else np.unique(np.concatenate(left_out)))
    keep = np.ones(catalogue.size, dtype=np.bool_) if allowed is None else allowed.copy()
    for rows in left_out:
        keep[rows] = False
    if candidates is None:
        return np.flatnonzero(keep)
    rows = catalogue.rows_of(list(dict.fromkeys(candidates)))
    rows = rows[rows >= 0]
    return rows[keep[rows]]


def _genre_conditions(genres: GenreFilter) -> list[_Condition]:
    conditions: list[_Condition] = []
    if genres.any:
        any_of = frozenset(genres.any)
        conditions.append(lambda item: not any_of.isdisjoint(item.genres))
    if genres.all:
        all_of = frozenset(genres.all)
        conditions.append(lambda item: all_of.issubset(item.genres))
    if genres.none:
        none_of = frozenset(genres.none)
        conditions.append(lambda item: none_of.isdisjoint(item.genres))
    return conditions


def _year_conditions(years: YearFilter) -> list[_Condition]:
    conditions: list[_Condition] = []
    low, high = years.min, years.max
    if low is not None:
        conditions.append(lambda item: item.year is not None and item.year >= low)
    if high is not None:
        conditions.append(lambda item: item.year is not None and item.year <= high)
    return conditions


def _attribute_condition(name: str, wanted: AttributeValue | tuple[AttributeValue, ...]) -> _Condition:
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    return lambda item: name in item.attributes and any(_equal(item.attributes[name], value) for value in values)


def _equal(left: Any, right: AttributeValue) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
