"""A generated world of films and people with tastes: no download, the same for the same seed.

A rating is what the film is worth, how generous the person is, and how well genres and year meet the person's taste:

    r(u, i) = 3.4 + generosity_u + quality_i + mean of taste_u over the genres of i + era_u(year_i) + noise

rounded to half steps in [0.5, 5]. How often films are chosen follows Zipf's law; nobody rates a film twice.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from schemas.events import Item

GENRES = (
    *("Action", "Adventure", "Animation", "Comedy", "Crime", "Documentary", "Drama", "Family", "Fantasy"),
    *("History", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
RATING_MIN, RATING_MAX, RATING_STEP = 0.5, 5.0, 0.5
FIRST_YEAR, LAST_YEAR = 1930, 2020
START_MS = 1_600_000_000_000
_ERA_WIDTH_YEARS = 15.0
_DRAWS_AT_ONCE = 1 << 22

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the world is.

    Attributes:
        users: number of people; each rates at least one film where ``ratings`` allows.
        items: number of films.
        ratings: number of ratings, at most users x items.
        zipf: exponent of the films' popularity.

    Raises:
        ValueError: a size is out of range.
    """

    users: int = 943
    items: int = 1_682
    ratings: int = 100_000
    zipf: float = 0.9

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.users < 1 or self.items < 1:
            raise ValueError(f"users and items must be at least 1, got {self.users} and {self.items}")
        if not 0 <= self.ratings <= self.users * self.items:
            raise ValueError(f"ratings must be in [0, {self.users * self.items}] (users x items), got {self.ratings}")
        if self.zipf < 0:
            raise ValueError(f"zipf must be at least 0, got {self.zipf}")


def generate(seed: int, sizes: Sizes) -> tuple[list[Item], pd.DataFrame]:
    """Return films, and ratings (user_id, item_id, rating, ts_ms) with increasing times.

    >>> items, ratings = generate(1, Sizes(users=3, items=4, ratings=6))
    >>> len(items), len(ratings), ratings.ts_ms.is_monotonic_increasing
    (4, 6, True)
    """
    rng = np.random.default_rng(seed)
    has_genre, years = _draw_items(rng, sizes.items)
    users = np.repeat(np.arange(sizes.users), _draw_activity(rng, sizes))
    items = _draw_choices(rng, sizes, np.bincount(users, minlength=sizes.users))
    order = rng.permutation(len(users))
    users, items = users[order], items[order]
    ratings = pd.DataFrame(
        {
            "user_id": np.char.add("u", (users + 1).astype(str)),
            "item_id": np.char.add("i", (items + 1).astype(str)),
            "rating": _draw_ratings(rng, has_genre, years, users, items),
            "ts_ms": START_MS + np.cumsum(rng.integers(1, 60_000, len(users))),
        }
    ).astype({"user_id": str, "item_id": str, "ts_ms": "int64"})
    return _describe_items(has_genre, years), ratings


def _draw_items(rng: np.random.Generator, n_items: int) -> tuple[npt.NDArray[np.bool_], _Integers]:
    """Return genres [N, G] (one to three a film) and years [N] (more of the recent ones)."""
    popularity = 1.0 / np.arange(2, len(GENRES) + 2)
    popularity = rng.permutation(popularity / popularity.sum())
    keys = np.log(popularity) + rng.gumbel(size=(n_items, len(GENRES)))
    ranks = np.argsort(np.argsort(-keys, axis=1), axis=1)
    has_genre = ranks < rng.integers(1, 4, size=(n_items, 1))
    age = (LAST_YEAR - FIRST_YEAR) * rng.beta(1.0, 3.0, n_items)
    return has_genre, LAST_YEAR - np.rint(age).astype(np.int64)


def _draw_activity(rng: np.random.Generator, sizes: Sizes) -> _Integers:
    """Return the number of ratings of each user: log-normal, at most one an item, summing to ``sizes.ratings``."""
    weights = rng.lognormal(0.0, 1.0, sizes.users)
    counts = np.full(sizes.users, min(1, sizes.ratings // sizes.users), dtype=np.int64)
    while (missing := sizes.ratings - int(counts.sum())) > 0:
        open_weights = np.where(counts < sizes.items, weights, 0.0)
        counts = np.minimum(counts + rng.multinomial(missing, open_weights / open_weights.sum()), sizes.items)
    return counts


def _draw_choices(rng: np.random.Generator, sizes: Sizes, counts: _Integers) -> _Integers:
    """Return the items of each user, ``counts[u]`` without repeats: the largest of log popularity + Gumbel noise."""
    log_popularity = rng.permutation(-sizes.zipf * np.log(np.arange(1, sizes.items + 1)))
    users_at_once = max(1, _DRAWS_AT_ONCE // sizes.items)
    chosen = []
    for start in range(0, sizes.users, users_at_once):
        block = counts[start : start + users_at_once]
        keys = log_popularity + rng.gumbel(size=(len(block), sizes.items))
        best_first = np.argsort(-keys, axis=1, kind="stable")
        chosen.append(best_first[np.arange(sizes.items) < block[:, None]])
    return np.concatenate(chosen)


def _draw_ratings(
    rng: np.random.Generator,
    has_genre: npt.NDArray[np.bool_],
    years: _Integers,
    users: _Integers,
    items: _Integers,
) -> _Floats:
    n_users = int(users.max(initial=0)) + 1
    quality = rng.normal(0.0, 0.4, len(years))
    generosity = rng.normal(0.0, 0.3, n_users)
    taste = rng.normal(0.0, 0.9, (n_users, len(GENRES)))
    favourite_year = rng.integers(FIRST_YEAR + 20, LAST_YEAR + 1, n_users)
    share = has_genre / has_genre.sum(axis=1, keepdims=True)
    era = np.exp(-(((years[items] - favourite_year[users]) / _ERA_WIDTH_YEARS) ** 2))
    meant: _Floats = (
        3.4
        + generosity[users]
        + quality[items]
        + np.einsum("rg,rg->r", taste[users], share[items])
        + 0.8 * (era - 0.5)
        + rng.normal(0.0, 0.5, len(users))
    )
    rounded: _Floats = np.clip(np.rint(meant / RATING_STEP) * RATING_STEP, RATING_MIN, RATING_MAX)
    return rounded


def _describe_items(has_genre: npt.NDArray[np.bool_], years: _Integers) -> list[Item]:
    names = np.array(GENRES)
    return [
        Item(
            item_id=f"i{i + 1}",
            title=f"{'-'.join(names[flags])} No. {i + 1} ({year})",
            genres=tuple(names[flags].tolist()),
            year=int(year),
        )
        for i, (flags, year) in enumerate(zip(has_genre, years, strict=True))
    ]
