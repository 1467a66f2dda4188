import math

import numpy as np
import pytest

from recommender.draws import Draws
from recommender.policies import PolicySettings, SlateRequest, make_policy
from recommender.policies.default import score_default, score_ucb
from recommender.policies.taste import taste

SETTINGS = PolicySettings()
ALL = np.arange(4)


@pytest.fixture(scope="module")
def world(catalogue_of, statistics_of):
    """Four items, the last without a vector; 20 ratings in all with mean 3; nobody rated i2."""
    catalogue = catalogue_of([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], None])
    return catalogue, statistics_of([6, 5, 0, 1], [25.0, 20.0, 0.0, 5.0], total_count=20, total_sum=60.0)


# m = 3, k0 = 5: m_0 = (25 + 15)/11, m_1 = (20 + 15)/10 = 3.5, m_2 = 3, m_3 = (5 + 15)/6
MEANS = np.array([40 / 11, 3.5, 3.0, 20 / 6])


def test_new_user_gets_the_item_means(world, profile_of):
    catalogue, statistics = world
    scores = score_default(ALL, profile_of(catalogue, []), catalogue, statistics, SETTINGS)
    np.testing.assert_allclose(scores.score, MEANS, rtol=1e-15)
    assert scores.novelty.tolist() == [1.0] * 4
    assert scores.bonus.tolist() == [0.0] * 4


def test_one_rating_corrects_items_alike_by_a_quarter_of_the_surprise(world, profile_of):
    # The user's 5 of i0: without it m_0 = (20 + 15)/10 = 3.5, so theta_c = (5 - 3.5) x_0 = (1.5, 0), times 1/(1 + 3).
    catalogue, statistics = world
    profile = profile_of(catalogue, [(0, 5.0)])
    np.testing.assert_allclose(taste(profile, catalogue, statistics, SETTINGS), [0.375, 0.0], rtol=1e-15)
    scores = score_default(ALL, profile, catalogue, statistics, SETTINGS)
    np.testing.assert_allclose(scores.relevance, MEANS + np.array([0.375, 0.0, 0.375, 0.0]), rtol=1e-15)


def test_repeated_ratings_weigh_by_their_count(world, profile_of):
    # i0 twice, 5 and 4: without them m_0 = (16 + 15)/9; i1 once, 2: m_1 = (18 + 15)/9. t = 3, so the weight is 1/2.
    catalogue, statistics = world
    profile = profile_of(catalogue, [(0, 5.0), (1, 2.0), (0, 4.0)])
    expected = np.array([9 - 2 * 31 / 9, 2 - 33 / 9]) / 3 / 2
    np.testing.assert_allclose(taste(profile, catalogue, statistics, SETTINGS), expected, rtol=1e-14)


def test_item_rated_last_scores_zero_and_recovers_with_each_interaction(world, profile_of):
    # t = 3: i0 was rated at index 0, two interactions ago; i1 at index 2, none.
    catalogue, statistics = world
    scores = score_default(ALL, profile_of(catalogue, [(0, 5.0), (1, 4.0), (1, 4.0)]), catalogue, statistics, SETTINGS)
    np.testing.assert_allclose(scores.novelty, [1.0 - math.exp(-2 / 200), 0.0, 1.0, 1.0], rtol=1e-12)
    assert scores.score[1] == 0.0


def test_statistics_that_lag_behind_the_ledger_leave_the_global_mean(world, profile_of, statistics_of):
    # Nobody's rating of i0 has arrived: m_0 without the user's part is m = 3, so theta_c = 5 - 3 = 2, times 1/4.
    catalogue, _ = world
    lagging = statistics_of([0, 5, 0, 0], [0.0, 20.0, 0.0, 0.0], total_count=20, total_sum=60.0)
    profile = profile_of(catalogue, [(0, 5.0)])
    np.testing.assert_allclose(taste(profile, catalogue, lagging, SETTINGS), [0.5, 0.0], rtol=1e-15)


def test_ucb_adds_its_bonus_to_the_item_mean(world, profile_of):
    catalogue, statistics = world
    scores = score_ucb(ALL, profile_of(catalogue, []), catalogue, statistics, PolicySettings(c=2.0))
    bonus = [2 * math.sqrt(2 * math.log(20) / n) for n in (6, 5, 1)]
    np.testing.assert_allclose(scores.score[[0, 1, 3]], MEANS[[0, 1, 3]] + bonus, rtol=1e-15)


def test_ucb_puts_an_untried_item_first_with_a_finite_score_and_no_bonus(world, profile_of):
    # Highest tried: at most 40/11 + sqrt(2 ln 20). theta_c = (1.5, 0)/4, so relevance is above -0.375. lift adds 1.
    catalogue, statistics = world
    profile = profile_of(catalogue, [(0, 5.0)])
    slate = make_policy("ucb").slate(SlateRequest(4, ALL), profile, catalogue, statistics, Draws(7, "u", "r"))
    assert slate.rows[0] == 2
    assert math.isfinite(slate.scores[0])
    lift = 40 / 11 + math.sqrt(2 * math.log(20)) + 0.375 + 1
    assert slate.parts[0] == {
        "relevance": 3.375,
        "novelty": 1.0,
        "bonus": None,
        "untried": True,
        "lift": pytest.approx(lift),
    }
    assert slate.scores[0] == 3.375 + slate.parts[0]["lift"]
    assert [part["untried"] for part in slate.parts[1:]] == [False] * 3


def test_ucb_orders_untried_items_by_relevance_then_at_random(catalogue_of, profile_of, statistics_of):
    # i0 was liked, so i1 (alike) beats the three others, which tie: each is next for about a third of the requests.
    catalogue = catalogue_of([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    profile, statistics = profile_of(catalogue, [(0, 5.0)]), statistics_of([9, 0, 0, 0, 0], [27.0, 0, 0, 0, 0])
    policy, request = make_policy("ucb"), SlateRequest(3, np.arange(5))
    slates = [policy.slate(request, profile, catalogue, statistics, Draws(1, "u", f"r{i}")) for i in range(3000)]
    assert {int(slate.rows[0]) for slate in slates} == {1}
    assert all(slate.propensities.tolist() == [1.0, 1 / 3, 1 / 2] for slate in slates)
    # n = 3000, p = 1/3: five standard deviations are 5 sqrt(3000 * 2/9) = 129.1.
    seconds = np.bincount([slate.rows[1] for slate in slates], minlength=5)
    assert seconds[:2].tolist() == [0, 0]
    assert np.abs(seconds[2:] - 1000).max() < 130
