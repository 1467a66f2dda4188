"""The vectorised rules beside loops written straight from bandit.md."""

import math

import numpy as np
import pytest

from recommender.draws import Draws
from recommender.policies import PolicySettings, SlateRequest, make_policy
from recommender.policies.compat import score_compat, score_ucb_compat
from recommender.statistics import StatisticsView

S, EPSILON, STEPS = 200.0, 0.3, 50


def bonus_of(count, e):
    return math.sqrt(2 * math.log2(e + 1) / (count * e)) if count > 0 else 0.0


def scores_of(theta, vectors, counts, last_t, e):
    products = [sum(a * b for a, b in zip(theta, x, strict=True)) for x in vectors]
    return [
        product * (1 - math.exp(-(e - last) / S)) + bonus_of(count, e)
        for product, count, last in zip(products, counts, last_t, strict=True)
    ]


def choose(policy, scores, counts, draws):
    coin = draws.uniform(0) < EPSILON
    if policy == "random_compat" or (policy == "epsilon_greedy_compat" and coin):
        return draws.integer(0, len(scores))
    if policy == "ucb_compat" and 0 in counts:
        return counts.index(0)
    return scores.index(max(scores))


def oracle_run(policy, vectors, ratings, draws_at):
    n, dim = len(vectors), len(vectors[0])
    theta, counts, last_t, choices = [0.0] * dim, [0] * n, [1] * n, []
    for t in range(STEPS):
        scores = scores_of(theta, vectors, counts, last_t, t + 1)
        a = choose(policy, scores, counts, draws_at(t))
        choices.append((a, scores[a]))
        theta = [t / (t + 1) * old + 1 / (t + 1) * (ratings[a] * x) for old, x in zip(theta, vectors[a], strict=True)]
        last_t[a] = t
        counts[a] += 1
    return choices


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ["random_compat", "greedy_compat", "epsilon_greedy_compat", "ucb_compat"])
def test_fifty_steps_of_a_user_equal_the_loop(name, seed, catalogue_of, profile_of):
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(12, 5))
    vectors = kinds[rng.integers(0, 12, size=40)]  # items of the same kind are identical, so ties are common
    ratings = rng.integers(1, 11, size=40) / 2
    catalogue, statistics, policy = catalogue_of(vectors), StatisticsView.empty(40), make_policy(name)
    request, history, choices = SlateRequest(1, np.arange(40)), [], []

    def draws_at(step):
        return Draws(seed, f"{name}/u", f"{seed}/{name}/u/{step}")

    for t in range(STEPS):
        slate = policy.slate(request, profile_of(catalogue, history), catalogue, statistics, draws_at(t))
        history.append((int(slate.rows[0]), float(ratings[slate.rows[0]])))
        choices.append((int(slate.rows[0]), float(slate.scores[0])))

    expected = oracle_run(name, vectors.tolist(), ratings.tolist(), draws_at)
    assert [a for a, _ in choices] == [a for a, _ in expected]
    tried = [counted for counted, (a, _) in enumerate(expected) if a in [b for b, _ in expected[:counted]]]
    compared = tried if name == "ucb_compat" else range(STEPS)
    np.testing.assert_allclose([choices[t][1] for t in compared], [expected[t][1] for t in compared], rtol=1e-12)


@pytest.mark.parametrize("name", ["greedy_compat", "ucb_compat"])
def test_first_step_takes_the_first_candidate_in_the_given_order(name, catalogue_of, profile_of):
    catalogue = catalogue_of([[1.0], [2.0], [3.0]])
    args = profile_of(catalogue, []), catalogue, StatisticsView.empty(3), Draws(7, "u", "r")
    slate = make_policy(name).slate(SlateRequest(3, np.array([2, 0, 1])), *args)
    assert slate.rows.tolist() == [2, 0, 1]


def test_first_step_scores_every_item_zero(catalogue_of, profile_of):
    catalogue = catalogue_of([[1.0], [-2.0]])
    scores = score_compat(np.arange(2), profile_of(catalogue, []), catalogue, StatisticsView.empty(2), PolicySettings())
    assert scores.score.tolist() == [0.0, 0.0]


def test_item_chosen_first_looks_newer_than_an_unseen_one(catalogue_of, profile_of):
    # t = 1, e = 2, theta = 4 x 1: i0 has L = 0, N = 1; i1 has L = 1, N = 0.
    catalogue = catalogue_of([[1.0], [1.0]])
    profile = profile_of(catalogue, [(0, 4.0)])
    scores = score_compat(np.arange(2), profile, catalogue, StatisticsView.empty(2), PolicySettings())
    np.testing.assert_allclose(scores.relevance, [4.0, 4.0])
    np.testing.assert_allclose(scores.novelty, [1 - math.exp(-2 / 200), 1 - math.exp(-1 / 200)], rtol=1e-12)
    np.testing.assert_allclose(scores.bonus, [math.sqrt(2 * math.log2(3) / 2), 0.0], rtol=1e-15)


def test_item_statistics_say_nothing_to_compat_rules(catalogue_of, profile_of, statistics_of):
    catalogue = catalogue_of([[1.0], [2.0]])
    profile, rows = profile_of(catalogue, [(0, 4.0)]), np.arange(2)
    popular = statistics_of([0, 900], [0.0, 4500.0])
    for rule in (score_compat, score_ucb_compat):
        one = rule(rows, profile, catalogue, popular, PolicySettings())
        other = rule(rows, profile, catalogue, StatisticsView.empty(2), PolicySettings())
        assert one.score.tolist() == other.score.tolist()


def test_ucb_compat_tries_each_item_once_before_any_twice(catalogue_of, profile_of):
    catalogue, history = catalogue_of(np.random.default_rng(3).normal(size=(6, 2))), []
    policy, request = make_policy("ucb_compat"), SlateRequest(1, np.arange(6))
    for t in range(6):
        profile = profile_of(catalogue, history)
        slate = policy.slate(request, profile, catalogue, StatisticsView.empty(6), Draws(0, "u", str(t)))
        assert slate.parts[0]["bonus"] is None
        history.append((int(slate.rows[0]), 5.0))
    assert [row for row, _ in history] == [0, 1, 2, 3, 4, 5]


def test_ucb_compat_puts_an_untried_item_above_a_tried_one_the_user_loves(catalogue_of, profile_of):
    # t = 1, theta = 5 * 3 = 15, s = 1: i0 scores 45 (1 - exp(-2)) + sqrt(log2(3)) = 40.2; i1 45 + 1.3 + 1.
    catalogue = catalogue_of([[3.0], [-3.0]])
    profile = profile_of(catalogue, [(0, 5.0)])
    scores = score_ucb_compat(np.arange(2), profile, catalogue, StatisticsView.empty(2), PolicySettings(s=1.0))
    tried = 45 * (1 - math.exp(-2)) + math.sqrt(math.log2(3))
    np.testing.assert_allclose(scores.score, [tried, 46 + math.sqrt(math.log2(3))], rtol=1e-8)
