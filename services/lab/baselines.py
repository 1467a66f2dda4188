"""The baselines of next-item ranking by name, each with the parameters that are tried for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import product
from typing import Any, Literal, TypeVar, cast

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.ranking.baselines import (
    ItemToItem,
    MostPopular,
    ease_weights,
    item_counts,
    knn_weights,
    markov_weights,
    together,
)
from recommender.ranking.log import RatingLog
from recommender.ranking.measures import estimate, gains
from recommender.ranking.next_item import Ranker, cut_at, predict_next
from services.lab.factor_baselines import fit_als, fit_bandit

TRIED_EVERY = 4
"""Every how many events parameters are compared on."""

_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """What baselines are made from: the events before a cut, and what several of them need.

    Attributes:
        log: the events.
    """

    log: RatingLog
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def counts(self) -> Integers:
        """How often each item was rated, shape [N]."""
        return self._once("counts", lambda: item_counts(self.log))

    def ease(self, ridge: float) -> Floats:
        """Return the weights of EASE, shape [N, N]."""
        return self._once(("ease", ridge), lambda: ease_weights(self._pairs(), ridge=ridge))

    def knn(self, shrinkage: float, neighbours: int) -> Floats:
        """Return the weights of item-kNN, shape [N, N]."""
        make = lambda: knn_weights(self._pairs(), shrinkage=shrinkage, neighbours=neighbours)  # noqa: E731
        return self._once(("knn", shrinkage, neighbours), make)

    def _pairs(self) -> Floats:
        return self._once("pairs", lambda: together(self.log))

    def _once(self, key: Any, make: Callable[[], _Kept]) -> _Kept:
        if key not in self._kept:
            self._kept[key] = make()
        return cast("_Kept", self._kept[key])


def _popular(fitting: Fitting) -> Ranker:
    return MostPopular(fitting.counts)


def _popular_live(_fitting: Fitting) -> Ranker:
    return MostPopular()


def _knn(fitting: Fitting, shrinkage: float, neighbours: int, half_life: float | None = None) -> Ranker:
    return ItemToItem(fitting.knn(shrinkage, neighbours), fitting.counts, half_life)


def _ease(fitting: Fitting, ridge: float, half_life: float | None = None, blend: float = 0.0) -> Ranker:
    return ItemToItem(fitting.ease(ridge), fitting.counts, half_life, blend)


def _markov(fitting: Fitting, decay: float, smoothing: float, half_life: float) -> Ranker:
    return ItemToItem(markov_weights(fitting.log, decay=decay, smoothing=smoothing), fitting.counts, half_life)


def _als(fitting: Fitting, factors: int, ridge: float, confidence: float) -> Ranker:
    return fit_als(fitting.log, factors=factors, ridge=ridge, confidence=confidence)


def _linucb(fitting: Fitting, alpha: float, ridge: float) -> Ranker:
    return _bandit(fitting, "linucb", alpha, ridge)


def _lints(fitting: Fitting, alpha: float, ridge: float) -> Ranker:
    return _bandit(fitting, "lints", alpha, ridge)


def _bandit(fitting: Fitting, kind: Literal["linucb", "lints"], alpha: float, ridge: float) -> Ranker:
    return fit_bandit(fitting.log, kind, alpha=alpha, ridge=ridge)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A way to rank, and what is tried for it.

    Attributes:
        make: from the events before the cut and parameters.
        tried: the values of each parameter.
        needs: the package that it comes from, where that is not one of ours.
    """

    make: Callable[..., Ranker]
    tried: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    needs: str | None = None

    @property
    def is_installed(self) -> bool:
        """Whether what it needs is there."""
        return self.needs is None or find_spec(self.needs) is not None

    def grid(self) -> list[dict[str, Any]]:
        """Return every combination of parameters."""
        return [dict(zip(self.tried, values, strict=True)) for values in product(*self.tried.values())]


_RIDGES = (200.0, 400.0, 800.0, 1600.0)
_HALF_LIVES = (2.0, 4.0, 8.0)
_KNN = {"shrinkage": (0.0, 10.0), "neighbours": (100, 100_000)}
_BANDITS = {"alpha": (0.01, 0.1), "ridge": (10.0, 100.0)}

BASELINES: Mapping[str, Baseline] = {
    "popular": Baseline(_popular),
    "popular_live": Baseline(_popular_live),
    "knn": Baseline(_knn, _KNN),
    "knn_recency": Baseline(_knn, _KNN | {"half_life": _HALF_LIVES}),
    "ease": Baseline(_ease, {"ridge": _RIDGES}),
    "ease_recency": Baseline(_ease, {"ridge": _RIDGES, "half_life": _HALF_LIVES}),
    "ease_recency_popular": Baseline(
        _ease, {"ridge": (400.0, 800.0, 1600.0), "half_life": (4.0, 8.0), "blend": (0.003, 0.01, 0.03)}
    ),
    "markov": Baseline(_markov, {"decay": (0.5, 0.8, 0.9), "smoothing": (5.0, 20.0), "half_life": (2.0, 4.0, 8.0)}),
    "als": Baseline(_als, {"factors": (64, 128), "ridge": (1.0, 10.0, 30.0), "confidence": (1.0, 5.0)}, "implicit"),
    "linucb": Baseline(_linucb, _BANDITS, "mabwiser"),
    "lints": Baseline(_lints, _BANDITS, "mabwiser"),
}
"""Name to baseline."""


def choose_parameters(
    log: RatingLog, names: Sequence[str], on_try: Callable[[str], None] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the parameters of each baseline with the highest NDCG@10 within ``log``, cut again at 80 %.

    Args:
        log: the events before the cut of the experiment; nothing else is looked at.
        names: keys of :data:`BASELINES`.
        on_try: told each baseline's name before it is tried.
    """
    cut = cut_at(log)
    fitting = Fitting(log.before(cut))
    chosen = {}
    for name in names:
        if on_try is not None:
            on_try(name)
        grid = BASELINES[name].grid()
        worth = [_ndcg(log, cut, BASELINES[name].make(fitting, **each)) for each in grid] if len(grid) > 1 else [0.0]
        chosen[name] = grid[int(np.argmax(worth))]
    return chosen


def _ndcg(log: RatingLog, cut: int, ranker: Ranker) -> float:
    found = predict_next(log, cut, ranker, stride=TRIED_EVERY)
    return estimate(gains(found.ranks)["ndcg@10"], found.users).mean
