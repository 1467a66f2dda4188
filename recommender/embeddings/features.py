"""What an embedding is learned from: genres, multi-hot, and the release year, one-hot."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.events import Item


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """The columns of the feature matrix: one a genre, in alphabetical order, then one a year, ascending.

    It survives what it was not fitted on: an unseen genre sets no column, an unseen year sets that of the nearest known
    year (of two equally near, the earlier), a missing year sets none. Genres compare as written.

    Attributes:
        genres: known genres, sorted, distinct.
        years: known years, ascending, distinct.

    Raises:
        ValueError: a list is not sorted and distinct, or both are empty.

    >>> encoder = FeatureEncoder(genres=("Comedy", "Drama"), years=(1990, 1994))
    >>> encoder.encode([Item(item_id="a", genres=("Drama", "Noir"), year=1991)])
    array([[0., 1., 1., 0.]], dtype=float32)
    """

    genres: tuple[str, ...]
    years: tuple[int, ...]

    def __post_init__(self) -> None:
        if list(self.genres) != sorted(set(self.genres)):
            raise ValueError("genres must be sorted and distinct")
        if list(self.years) != sorted(set(self.years)):
            raise ValueError("years must be ascending and distinct")
        if self.size == 0:
            raise ValueError("features need at least one known genre or year, got neither")

    @classmethod
    def fit(cls, items: Iterable[Item]) -> "FeatureEncoder":
        """Return the encoder whose columns are the genres and years of ``items``.

        Raises:
            ValueError: no item has a genre or a year.
        """
        genres: set[str] = set()
        years: set[int] = set()
        for item in items:
            genres.update(item.genres)
            if item.year is not None:
                years.add(item.year)
        return cls(genres=tuple(sorted(genres)), years=tuple(sorted(years)))

    @property
    def size(self) -> int:
        """The number of columns, F."""
        return len(self.genres) + len(self.years)

    def encode(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Return the features of ``items``, shape [N, F], each 0 or 1; a row of zeros where nothing is known."""
        columns = {genre: column for column, genre in enumerate(self.genres)}
        features = np.zeros((len(items), self.size), dtype=np.float32)
        for row, item in enumerate(items):
            for genre in item.genres:
                column = columns.get(genre)
                if column is not None:
                    features[row, column] = 1.0
            if item.year is not None and self.years:
                features[row, len(self.genres) + self._nearest_year(item.year)] = 1.0
        return features

    def _nearest_year(self, year: int) -> int:
        right = bisect_left(self.years, year)
        if right == 0:
            return 0
        left = right - 1
        if right == len(self.years):
            return left
        return left if year - self.years[left] <= self.years[right] - year else right

    def to_state(self) -> dict[str, Any]:
        """Return the encoder as what JSON can say."""
        return {"genres": list(self.genres), "years": list(self.years)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "FeatureEncoder":
        """Return the encoder that :meth:`to_state` described.

        Raises:
            ValueError: the state is not one.
        """
        genres, years = state.get("genres"), state.get("years")
        if not isinstance(genres, list) or not all(isinstance(genre, str) for genre in genres):
            raise ValueError("feature state needs genres, a list of strings")
        if not isinstance(years, list) or not all(type(year) is int for year in years):
            raise ValueError("feature state needs years, a list of integers")
        return cls(genres=tuple(genres), years=tuple(years))
