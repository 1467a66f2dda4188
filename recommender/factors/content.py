"""What is said of an item as columns: genres, the year, and the words of the title."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.arrays import Floats
from recommender.embeddings.features import FeatureEncoder
from schemas.errors import ModelError
from schemas.events import Item

_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class ContentEncoder:
    """The columns: those of genres and years, then one a known word of titles, in alphabetical order.

    Attributes:
        features: genres and years.
        words: lower case, sorted, distinct.

    Raises:
        ValueError: the words are not sorted and distinct.

    >>> encoder = ContentEncoder(FeatureEncoder(genres=("Drama",), years=(1990,)), ("red", "white"))
    >>> encoder.encode([Item(item_id="a", title="The Red, Red Rose", genres=("Drama",))])
    array([[1., 0., 1., 0.]])
    """

    features: FeatureEncoder
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if list(self.words) != sorted(set(self.words)):
            raise ValueError("words must be sorted and distinct")

    @classmethod
    def fit(cls, items: Sequence[Item], least: int) -> "ContentEncoder":
        """Return the encoder of the items' genres and years, and of the words that ``least`` titles have or more.

        Raises:
            ValueError: no item has a genre or a year.
        """
        titles = Counter(word for item in items for word in words_of(item.title))
        words = tuple(sorted(word for word, count in titles.items() if count >= least))
        return cls(FeatureEncoder.fit(items), words)

    @property
    def size(self) -> int:
        """The number of columns, F."""
        return self.features.size + len(self.words)

    def encode(self, items: Sequence[Item]) -> Floats:
        """Return the columns of ``items``, shape [N, F], each 0 or 1; a row of zeros where nothing is known."""
        places = {word: self.features.size + place for place, word in enumerate(self.words)}
        columns = np.zeros((len(items), self.size))
        columns[:, : self.features.size] = self.features.encode(items)
        for row, item in enumerate(items):
            known = [places[word] for word in words_of(item.title) if word in places]
            columns[row, known] = 1.0
        return columns

    def to_state(self) -> dict[str, Any]:
        """Return the encoder as what JSON can say."""
        return {**self.features.to_state(), "words": list(self.words)}

    @classmethod
    def from_state(cls, state: Any) -> "ContentEncoder":
        """Return the encoder that :meth:`to_state` described.

        Raises:
            ModelError: the state is not one.
        """
        words = state.get("words")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ModelError("the release's content needs words, a list of strings")
        try:
            return cls(FeatureEncoder.from_state(state), tuple(words))
        except ValueError as error:
            raise ModelError(f"the release's content cannot be read: {error}") from error


def words_of(title: str) -> Iterable[str]:
    """Return the distinct words of a title, in lower case; digits and single letters are none.

    >>> sorted(words_of("Father of the Bride Part II (1995)"))
    ['bride', 'father', 'ii', 'of', 'part', 'the']
    """
    return set(_WORD.findall(title.lower()))
