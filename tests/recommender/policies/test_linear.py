"""The posterior against a solved Gaussian, LinUCB's bonus, and draws whose shares are what they say."""

import math
from collections import Counter

import numpy as np
import pytest

from recommender.arrays import read_only
from recommender.catalogue import AlignedModel, CatalogueEntry, LabelledModel, build_catalogue
from recommender.draws import Draws
from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.factors.content import ContentEncoder
from recommender.factors.model import AlignedFactors, FactorModel, Prior
from recommender.policies import PolicySettings, SlateRequest, make_policy
from recommender.policies.choices import choose_by_beliefs
from recommender.policies.linear import LINEAR, deviations, posterior_of
from recommender.policies.search import SEARCHED_ROWS
from recommender.rows import AllBut
from recommender.statistics import StatisticsView, means_of_others
from schemas.events import Item

SETTINGS = PolicySettings()


def world(vectors, mean, covariance, noise=1.0):
    vectors = np.asarray(vectors, dtype=np.float64)
    n, dim = vectors.shape
    content = ContentEncoder(FeatureEncoder(("Drama",), ()), ())
    layer = Layer(np.zeros((dim, 1), np.float32), np.zeros(dim, np.float32))
    prior = Prior(np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64), noise)
    model = FactorModel(tuple(f"i{row}" for row in range(n)), vectors, content, layer, prior)
    entries = [CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(n)]
    return build_catalogue(entries, models={LINEAR: LabelledModel("linear@1", model)})


def test_one_rating_moves_the_intercept_halfway_when_prior_and_noise_are_equally_sure(profile_of):
    # Only an intercept of variance 1 and noise 1; nobody else rated, so m = 2.75 and y = 4.75 - 2.75 = 2: mean 2/2.
    catalogue = world(np.zeros((2, 0)), [0.0], [[1.0]])
    profile = profile_of(catalogue, [(0, 4.75)])
    posterior = posterior_of(profile, catalogue, StatisticsView.empty(2), SETTINGS)
    assert posterior.mean == pytest.approx([1.0])
    assert posterior.root @ posterior.root.T == pytest.approx(np.array([[0.5]]))


def test_an_item_rated_twice_counts_twice(profile_of):
    # precision 1 + 2 = 3, two residuals of 4 - 2.75 = 1.25 and 3 - 2.75 = 0.25: mean (1.25 + 0.25)/3
    catalogue = world(np.zeros((2, 0)), [0.0], [[1.0]])
    posterior = posterior_of(profile_of(catalogue, [(0, 4.0), (0, 3.0)]), catalogue, StatisticsView.empty(2), SETTINGS)
    assert posterior.mean == pytest.approx([0.5])


def test_without_a_rating_the_posterior_is_the_prior(profile_of):
    catalogue = world([[1.0], [2.0]], [0.5, -0.25], np.diag([1.0, 2.0]))
    posterior = posterior_of(profile_of(catalogue, []), catalogue, StatisticsView.empty(2), SETTINGS)
    assert posterior.mean.tolist() == [0.5, -0.25]
    assert posterior.root @ posterior.root.T == pytest.approx(np.diag([1.0, 2.0]))


@pytest.mark.parametrize("seed", range(5))
def test_the_posterior_is_that_of_the_textbook(profile_of, statistics_of, seed):
    rng = np.random.default_rng(seed)
    n, dim = 9, 3
    root = rng.normal(size=(dim + 1, dim + 1))
    covariance = (root @ root.T + (root @ root.T).T) / 2
    catalogue = world(rng.normal(size=(n, dim)).astype(np.float32), rng.normal(size=dim + 1), covariance, 0.7)
    history = [(int(rng.integers(n)), float(rng.integers(1, 6))) for _ in range(12)]
    statistics = statistics_of([20] * n, rng.uniform(40, 80, n).round(2).tolist())
    profile = profile_of(catalogue, history)
    m = means_of_others(statistics, profile.rows, profile.counts, profile.sums, 5.0, prior=2.75)
    m_of = dict(zip(profile.rows.tolist(), m.tolist(), strict=True))
    precision, right = np.linalg.inv(covariance), np.linalg.inv(covariance) @ catalogue.models[LINEAR].value.prior.mean
    for row, rating in history:  # one rating after the other
        x = catalogue.models[LINEAR].value.vectors[row]
        precision, right = precision + np.outer(x, x) / 0.7, right + x * (rating - m_of[row]) / 0.7
    posterior = posterior_of(profile, catalogue, statistics, SETTINGS)
    np.testing.assert_allclose(posterior.mean, np.linalg.solve(precision, right), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(posterior.root @ posterior.root.T, np.linalg.inv(precision), rtol=1e-7, atol=1e-8)


def test_a_prior_without_spread_is_served():
    prior = Prior(np.zeros(2), np.zeros((2, 2)), 1.0)
    assert (prior.root == 0).all()


def test_linucbs_bonus_is_the_deviation_of_what_is_expected(profile_of):
    # x = [1, 2] under diag(1, 2): 1 + 8 = 9, of which the root is 3
    catalogue = world([[2.0], [0.0]], [0.0, 0.0], np.diag([1.0, 2.0]))
    profile, statistics = profile_of(catalogue, []), StatisticsView.empty(2)
    assert deviations(np.arange(2), posterior_of(profile, catalogue, statistics, SETTINGS), catalogue) == pytest.approx(
        [3.0, 1.0]
    )
    policy = make_policy(LINEAR, PolicySettings(linear_choice="linucb", linear_alpha=0.5))
    scores = policy.score(np.arange(2), profile, catalogue, statistics)
    assert scores.bonus == pytest.approx([1.5, 0.5])
    assert (scores.relevance * scores.novelty + scores.bonus == scores.score).all()


@pytest.mark.parametrize("choice", ["greedy", "linucb", "thompson"])
def test_scores_are_the_same_bits_whatever_else_is_asked_for(profile_of, choice):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(500, 6)).astype(np.float32)
    vectors[::7] = vectors[0]
    catalogue = world(vectors, np.zeros(7), np.eye(7))
    state = profile_of(catalogue, [(3, 5.0), (9, 1.0), (21, 2.0)]), catalogue, StatisticsView.empty(500)
    policy = make_policy(LINEAR, PolicySettings(linear_choice=choice))
    together = policy.score(np.arange(500), *state)
    for rows in (np.arange(3), np.array([499, 0, 77]), np.arange(0, 500, 7), rng.permutation(500)):
        part = policy.score(rows, *state)
        assert part.score.tolist() == together.score[rows].tolist()
        assert part.bonus.tolist() == together.bonus[rows].tolist()
    same = np.setdiff1d(np.arange(0, 500, 7), [21])
    assert len(set(together.score[same].tolist())) == 1


@pytest.mark.parametrize("choice", ["greedy", "linucb"])
def test_epsilon_is_the_requests_else_the_settings(profile_of, choice):
    catalogue = world(np.zeros((4, 1)), [0.0, 0.0], np.eye(2))
    state = profile_of(catalogue, []), catalogue, StatisticsView.empty(4)
    policy = make_policy(LINEAR, PolicySettings(linear_choice=choice, linear_epsilon=0.25))
    assert policy.slate(SlateRequest(1, np.arange(4)), *state, Draws(7, "u", "r")).epsilon == 0.25
    asked = policy.slate(SlateRequest(4, np.arange(4), 1.0), *state, Draws(7, "u", "r"))
    assert asked.explored.all()


def test_each_choice_is_a_version_of_its_own():
    versions = {make_policy(LINEAR, PolicySettings(linear_choice=c)).version for c in ("greedy", "linucb", "thompson")}
    assert len(versions) == 3
    changed = PolicySettings(linear_choice="linucb", linear_alpha=2.0)
    assert make_policy(LINEAR, changed).version not in versions
    assert make_policy(LINEAR, PolicySettings(linear_alpha=2.0)).version in versions


class TestThompson:
    POLICY = make_policy(LINEAR, PolicySettings(linear_choice="thompson"))

    def test_propensities_are_counted_and_of_the_draws_shares(self, profile_of):
        catalogue = world([[1.0], [-1.0], [0.2]], [0.0, 0.0], np.eye(2))
        state = profile_of(catalogue, []), catalogue, StatisticsView.empty(3)
        slate = self.POLICY.slate(SlateRequest(3, np.arange(3)), *state, Draws(7, "u", "r"))
        assert slate.propensity_kind == "counted"
        assert ((slate.propensities * 256) % 1 == 0).all()
        assert slate.propensities[-1] == 1.0
        assert slate.slate_propensity == math.prod(slate.propensities.tolist())
        assert not slate.explored.any()

    def test_items_are_shown_as_often_as_the_posterior_has_them_best(self, profile_of):
        # theta ~ N(0, 1), x = 1 and -1: each is the best with probability 1/2. 2,000 requests: 5 sd are 112.
        catalogue = world([[1.0], [-1.0]], [0.0, 0.0], np.diag([0.0, 1.0]))
        state = profile_of(catalogue, []), catalogue, StatisticsView.empty(2)
        request = SlateRequest(1, np.arange(2))
        shown = Counter(
            int(self.POLICY.slate(request, *state, Draws(7, "u", f"r{number}")).rows[0]) for number in range(2000)
        )
        assert abs(shown[0] - 1000) < 5 * math.sqrt(2000) / 2

    def test_a_counted_share_is_the_chance_given_the_draws(self):
        # Three beliefs of four name position 1 the best; with epsilon 0.5 its propensity is 0.5/2 + 0.5 * 3/4.
        values = np.array([[0.0, 0.0, 0.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
        shown = Counter()
        for number in range(4000):
            choices = choose_by_beliefs(values, 1, 0.5, Draws(7, "u", f"r{number}"))
            first = int(choices.positions[0])
            assert choices.propensities[0] == (0.625 if first == 1 else 0.375)
            shown[first] += 1
        assert abs(shown[1] - 2500) < 5 * math.sqrt(4000 * 0.625 * 0.375)

    def test_a_taken_item_leaves_each_belief_its_next_best(self):
        values = np.array([[3.0, 1.0], [2.0, 3.0], [1.0, 2.0]])
        choices = choose_by_beliefs(values, 3, 0.0, Draws(7, "u", "r"))
        left = [0, 1, 2]
        for position, propensity in zip(choices.positions.tolist(), choices.propensities.tolist(), strict=True):
            best = values[left].argmax(axis=0)
            assert propensity == np.mean([left[place] == position for place in best.tolist()])
            left.remove(position)

    def test_the_same_request_draws_the_same_beliefs_and_another_one_others(self, profile_of):
        catalogue = world(np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32), np.zeros(5), np.eye(5))
        state = profile_of(catalogue, [(0, 5.0)]), catalogue, StatisticsView.empty(30)
        request = SlateRequest(5, np.arange(30))
        slates = [self.POLICY.slate(request, *state, Draws(7, "u", name)).rows.tolist() for name in ("r", "r", "s")]
        assert slates[0] == slates[1]
        assert slates[0] != slates[2]


@pytest.fixture(scope="module")
def large():
    """As many items as are searched, of which some are alike."""
    rng = np.random.default_rng(2)
    n, dim = SEARCHED_ROWS + 50, 5
    vectors = np.concatenate((np.ones((n, 1)), rng.normal(size=(n, dim))), axis=1)
    vectors[100:140] = vectors[0]
    entries = [CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(n)]
    factors = AlignedFactors(read_only(vectors), Prior(np.zeros(dim + 1), np.eye(dim + 1), 0.5))
    return replace_models(build_catalogue(entries), {LINEAR: AlignedModel("linear@1", factors)})


def replace_models(catalogue, models):
    object.__setattr__(catalogue, "models", models)
    return catalogue


@pytest.mark.parametrize("choice", ["greedy", "thompson"])
@pytest.mark.parametrize("epsilon", [None, 0.5])
def test_the_slate_of_a_large_catalogue_is_that_of_all_scores(large, profile_of, monkeypatch, choice, epsilon):
    rng = np.random.default_rng(4)
    statistics = StatisticsView(np.full(large.size, 3), rng.integers(30_000, 150_000, large.size), 9, 270_000)
    profile = profile_of(large, [(0, 5.0), (7, 1.0), (140, 4.0)])
    policy = make_policy(LINEAR, PolicySettings(linear_choice=choice))
    for rows in (AllBut(large.size, np.array([0, 7, 140])), AllBut(large.size, np.zeros(0, dtype=np.int64))):
        request = SlateRequest(20, rows, epsilon)
        found = policy.slate(request, profile, large, statistics, Draws(7, "u", "r"))
        with monkeypatch.context() as patch:
            patch.setattr("recommender.policies.search.SEARCHED_ROWS", large.size + 1)
            expected = policy.slate(request, profile, large, statistics, Draws(7, "u", "r"))
        assert found.rows.tolist() == expected.rows.tolist()
        assert found.scores.tolist() == expected.scores.tolist()
        assert found.propensities.tolist() == expected.propensities.tolist()
