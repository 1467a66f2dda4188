import numpy as np
import pytest

from recommender.ranking.log import Moments, RatingLog, walk
from services.lab.factor_baselines import context_of, fit_als, fit_bandit

pytest.importorskip("implicit")
pytest.importorskip("mabwiser")


def random_log(seed=0, users=20, size=12):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(size)[:8] for _ in range(users)])
    who = np.repeat(np.arange(users), 8)
    return RatingLog(who, rows, np.full(len(rows), 40_000), tuple(map(str, range(users))), size)


def moments_of(log):
    return next(iter(walk(log, len(log) - 40)))[0]


def test_fold_in_solves_for_the_users_factor():
    # (Y'Y + a Y_u'Y_u + reg I) x = (1 + a) Y_u' 1 with confidence 1 + a of the rated, 1 of the others.
    log, ridge, confidence = random_log(), 0.5, 3.0
    ranker = fit_als(log, factors=4, ridge=ridge, confidence=confidence)
    moments = moments_of(log)
    y = ranker.model.item_factors.astype(np.float64)
    for past, scores in zip(moments.pasts, ranker.scores(moments), strict=True):
        own = y[past.rows]
        a = y.T @ y + (confidence - 1.0) * own.T @ own + ridge * np.eye(4)
        np.testing.assert_allclose(scores, y @ np.linalg.solve(a, confidence * own.sum(axis=0)), atol=1e-3)


@pytest.mark.parametrize("kind", ["linucb", "lints"])
def test_scores_are_the_expectations_of_the_library(kind):
    log = random_log()
    ranker = fit_bandit(log, kind, alpha=0.1, ridge=1.0, dim=4)
    moments = moments_of(log)
    scores = ranker.scores(moments)
    assert scores.shape == (len(moments.pasts), log.size)
    contexts = context_of(moments.pasts, ranker.vectors, ranker.half_life)
    if kind == "linucb":
        model = ranker.model._imp.arm_to_model[3]
        x = contexts[0]
        expected = x @ model.beta + 0.1 * np.sqrt(x @ model.A_inv @ x)
        assert scores[0, 3] == pytest.approx(expected, abs=1e-7)
    alone = Moments(moments.pasts[:1], moments.counts[:1], moments.sums[:1])
    assert ranker.scores(alone).shape == (1, log.size)


def test_context_is_a_direction_beside_a_one():
    log = random_log()
    vectors = np.random.default_rng(1).normal(size=(log.size, 3))
    pasts = moments_of(log).pasts
    contexts = context_of(pasts, vectors, 5.0)
    assert (contexts[:, 0] == 1.0).all()
    lengths = [1.0 if past.t else 0.0 for past in pasts]
    np.testing.assert_allclose(np.linalg.norm(contexts[:, 1:], axis=1), lengths)
