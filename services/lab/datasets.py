"""Data sets by name: items and ratings, in the order in which the ratings were given."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from schemas.errors import DataError
from schemas.events import Item, RatingEvent
from services.lab import movielens, synthetic
from services.lab.downloads import cache_directory

DATASETS = ("movielens-100k", "synthetic")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A catalogue and a log of ratings.

    Attributes:
        name: one of :data:`DATASETS`.
        items: the catalogue.
        ratings: user_id (str), item_id (str), rating (float64) and ts_ms (int64), by time; the order of the source
            where times are equal.
        licence: what the data may be used for, in a sentence.
        source: where it comes from.
    """

    name: str
    items: list[Item]
    ratings: pd.DataFrame
    licence: str
    source: str


def load_dataset(name: str, *, cache: Path | None = None, seed: int = 0) -> Dataset:
    """Return a data set by its name.

    Args:
        name: one of :data:`DATASETS`.
        cache: where downloads are kept; None for :func:`services.lab.downloads.cache_directory`.
        seed: seed of ``synthetic``; the others have none.

    Raises:
        DataError: the name is unknown, or the data cannot be fetched.
    """
    if name == "movielens-100k":
        items, ratings = movielens.load_movielens((cache or cache_directory()) / name)
        return Dataset(name, items, ratings, movielens.LICENCE, movielens.SOURCE)
    if name == "synthetic":
        return make_synthetic(seed)
    raise DataError(f"data set must be one of {', '.join(DATASETS)}, got {name!r}")


def make_synthetic(seed: int = 0, sizes: synthetic.Sizes = synthetic.Sizes()) -> Dataset:  # noqa: B008 - a frozen value
    """Return a generated data set, the same for the same seed and sizes."""
    items, ratings = synthetic.generate(seed, sizes)
    source = f"generated with seed {seed}"
    return Dataset("synthetic", items, ratings, "generated, free of any licence", source)


def rating_events(ratings: pd.DataFrame) -> Iterator[RatingEvent]:
    """Yield the events of a frame of ratings, in its order.

    >>> frame = pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "rating": [4.0], "ts_ms": [5]})
    >>> next(rating_events(frame))
    RatingEvent(user_id='u', item_id='a', rating=4.0, event_id=None, ts_ms=5, request_id=None, v=1)
    """
    columns = [ratings[name].tolist() for name in ("user_id", "item_id", "rating", "ts_ms")]
    for user_id, item_id, rating, ts_ms in zip(*columns, strict=True):
        yield RatingEvent(user_id=user_id, item_id=item_id, rating=rating, ts_ms=ts_ms)
