"""Baselines of next-item ranking that come from libraries: ALS of `implicit`, LinUCB and LinTS of `mabwiser`.

All three are made from the events before the cut and stay as they are. At a moment the user's live history gives the
folded-in factor of ALS, and the context of the contextual bandits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recommender.arrays import Floats
from recommender.ranking.baselines import TIE_WEIGHT, decayed_histories, item_counts
from recommender.ranking.log import Moments, Past, RatingLog, walk
from schemas.errors import ConfigurationError

_LEARNED_AT_A_TIME = 4096


@dataclass(frozen=True, slots=True, eq=False)
class FoldedIn:
    """Implicit ALS: the user's factor is solved for from the live history, the items' factors are frozen.

    Attributes:
        model: a fitted ``implicit.als.AlternatingLeastSquares``.
        size: number of items, N.
    """

    model: Any
    size: int

    def scores(self, moments: Moments) -> Floats:
        """Return the scores; see :class:`recommender.ranking.next_item.Ranker`."""
        histories = _rated(moments.pasts, self.size)
        users = self.model.recalculate_user(np.arange(len(moments.pasts)), histories)
        return np.asarray(users.astype(np.float64) @ self.model.item_factors.astype(np.float64).T)


def fit_als(log: RatingLog, *, factors: int, ridge: float, confidence: float, iterations: int = 15) -> FoldedIn:
    """Return ALS for implicit feedback, fitted on who rated what.

    Source: Hu, Koren and Volinsky 2008, doi:10.1109/ICDM.2008.22.

    Args:
        log: the events to learn from.
        factors: size of a factor.
        ridge: the weight of the factors' squares.
        confidence: what a rated pair counts, beside 1 for one that is not.
        iterations: over users and items.

    Raises:
        ConfigurationError: ``implicit`` is not installed.
    """
    try:
        from implicit.als import AlternatingLeastSquares  # noqa: PLC0415 - wanted for this baseline only
        from scipy.sparse import csr_matrix  # noqa: PLC0415
        from threadpoolctl import threadpool_limits  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    rated = csr_matrix(
        (np.ones(len(log), dtype=np.float32), (log.users, log.rows)), shape=(len(log.user_ids), log.size)
    )
    rated.data[:] = 1.0
    with threadpool_limits(1, "blas"):  # its own threads and those of BLAS would wait for each other
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=ridge,
            alpha=confidence,
            iterations=iterations,
            num_threads=1,
            random_state=7,
        )
        model.fit(rated, show_progress=False)
    return FoldedIn(model, log.size)


@dataclass(frozen=True, slots=True, eq=False)
class ContextualBandit:
    """LinUCB or LinTS with an arm an item, and what the user rated lately as the context.

    context = [1, sum_j 2^(-age_j / half_life) x_j / its length], x_j the right singular vectors of who rated what

    Attributes:
        model: a fitted ``mabwiser.mab.MAB`` with the arms 0..N-1.
        vectors: x, shape [N, D].
        counts: ratings of each item before the cut, which decide ties, shape [N].
        half_life: of the context, in ratings of the user.
    """

    model: Any
    vectors: Floats
    counts: Floats
    half_life: float

    def scores(self, moments: Moments) -> Floats:
        """Return the scores; see :class:`recommender.ranking.next_item.Ranker`."""
        contexts = context_of(moments.pasts, self.vectors, self.half_life)
        said = self.model.predict_expectations(contexts)
        arms = range(len(self.vectors))
        given = [[each[arm] for arm in arms] for each in ([said] if isinstance(said, dict) else said)]
        return np.array(given) + TIE_WEIGHT * self.counts


def fit_bandit(
    log: RatingLog,
    kind: Literal["linucb", "lints"],
    *,
    alpha: float,
    ridge: float,
    half_life: float = 10.0,
    dim: int = 16,
    zeros: int = 4,
    seed: int = 7,
) -> ContextualBandit:
    """Return a contextual bandit fitted on the log. Li et al. 2010, doi:10.1145/1772690.1772758.

    A log without impressions has no item that was shown and not taken, so each event, of reward 1, comes with some
    arms drawn uniformly, of reward 0.

    Args:
        log: the events to learn from.
        kind: whose expectations: the upper bound, or a draw from the posterior.
        alpha: how much is explored.
        ridge: the weight of the arms' squares.
        half_life: of the context, in ratings of the user.
        dim: size of the item vectors.
        zeros: arms drawn an event.
        seed: of every draw.

    Raises:
        ConfigurationError: ``mabwiser`` is not installed.
    """
    try:
        from mabwiser.mab import MAB, LearningPolicy  # noqa: PLC0415 - wanted for this baseline only
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    rated = np.zeros((len(log.user_ids), log.size))
    rated[log.users, log.rows] = 1.0
    vectors = np.linalg.svd(rated, full_matrices=False)[2][:dim].T.copy()
    rng = np.random.default_rng(seed)
    decisions, rewards, contexts = [], [], []
    for moments, targets in walk(log, 0, _LEARNED_AT_A_TIME):
        own = context_of(moments.pasts, vectors, half_life)
        drawn = rng.integers(0, log.size, size=(len(own), zeros))
        decisions.append(np.concatenate((targets.rows[:, np.newaxis], drawn), axis=1).ravel())
        rewards.append(np.tile(np.eye(1, zeros + 1)[0], len(own)))
        contexts.append(np.repeat(own, zeros + 1, axis=0))
    policies = LearningPolicy.LinUCB, LearningPolicy.LinTS
    model = MAB(list(range(log.size)), policies[kind == "lints"](alpha=alpha, l2_lambda=ridge), seed=seed)
    model.fit(np.concatenate(decisions), np.concatenate(rewards), np.concatenate(contexts))
    return ContextualBandit(model, vectors, item_counts(log).astype(np.float64), half_life)


def context_of(pasts: Sequence[Past], vectors: Floats, half_life: float) -> Floats:
    """Return the contexts, shape [B, D + 1]; the direction is 0 for a user who rated nothing."""
    sums = decayed_histories(pasts, len(vectors), half_life) @ vectors
    lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    directions = np.divide(sums, lengths, out=np.zeros(sums.shape), where=lengths > 0)
    return np.concatenate((np.ones((len(pasts), 1)), directions), axis=1)


def _rated(pasts: Sequence[Past], size: int) -> Any:
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - comes with implicit

    ends = np.cumsum([0, *(len(past.rows) for past in pasts)])
    rows = np.concatenate([past.rows for past in pasts])
    return csr_matrix((np.ones(len(rows), dtype=np.float32), rows, ends), shape=(len(pasts), size))


def _missing(error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(f"this baseline needs {error.name}: install streamrec[dev]")
