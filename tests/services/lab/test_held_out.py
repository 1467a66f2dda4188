"""The held-out protocol: what policies may know, and what its figures are."""

import math
from dataclasses import replace

import numpy as np
import pytest

from recommender.diversity import DiversityLimits
from recommender.draws import Draws
from recommender.factors.training import FactorSettings
from recommender.policies import PolicySettings, SlateRequest
from recommender.policies.linear import LINEAR
from recommender.rl.model import ACTORS
from recommender.rl.training import ActorSettings
from schemas.errors import ConfigurationError, DataError
from services.lab.contestants import CONFIGURATIONS, make_contestant
from services.lab.datasets import make_synthetic
from services.lab.evaluation import Task
from services.lab.held_out import STEPS, evaluate_held_out, expect_knowing_all, know, make_world, play, split_users
from services.lab.held_out_figures import Split, compare
from services.lab.protocols import PROTOCOLS
from services.lab.synthetic import Sizes
from services.lab.vectors import train_vectors

POLICIES = ("item_mean", "greedy", "epsilon_greedy", "ucb", "greedy_compat", "linear", *CONFIGURATIONS)


@pytest.fixture(scope="module")
def task():
    data = make_synthetic(0, Sizes(users=40, items=120, ratings=40 * 80))
    ratings = data.ratings.drop_duplicates(["user_id", "item_id"], keep="last", ignore_index=True)
    vectors_of = train_vectors("pca", data.items, 7).vectors_for
    factors = FactorSettings(dim=8, parts=2, rounds=3)
    short = ActorSettings(frame_size=3, hidden=16, clone_steps=20, steps=4, validate_every=10, threads=1)
    return Task("synthetic", data.items, ratings, vectors_of, POLICIES, factors=factors, actor=short, splits=(0, 1))


@pytest.fixture(scope="module")
def world(task):
    return make_world(task, 0, {"linear", "ddpg", "td3"})


def test_half_of_the_users_are_held_out_and_other_seeds_hold_out_others(task):
    train, held_out = split_users(task.ratings, 0)
    assert set(train["user_id"]).isdisjoint(held_out["user_id"])
    assert held_out["user_id"].nunique() == task.ratings["user_id"].nunique() // 2
    assert set(split_users(task.ratings, 1)[1]["user_id"]) != set(held_out["user_id"])


@pytest.mark.parametrize("name", ACTORS)
def test_an_actor_is_learned_from_the_training_users_and_meets_the_others(task, name):
    report = evaluate_held_out(replace(task, policies=(name,), splits=(0,)))
    assert set(report.figures["gap_closed"]) >= {name, "item_mean"}
    assert report.figures["diversity"][name]["coverage"] > 0.0


def test_a_policy_that_the_protocol_has_no_training_for_is_refused(task):
    with pytest.raises(ConfigurationError, match="held_out trains no model of sequence"):
        evaluate_held_out(replace(task, policies=("sequence",)))


def test_what_the_held_out_rated_shapes_nothing_but_themselves(task, world):
    _, held_out = split_users(task.ratings, 0)
    changed = task.ratings.copy()
    changed.loc[changed["user_id"].isin(held_out["user_id"]), "rating"] = 5.0
    other = make_world(replace(task, ratings=changed), 0, {"linear"})
    assert other.statistics.sums.tolist() == world.statistics.sums.tolist()
    assert other.statistics.total_sum == world.statistics.total_sum
    ours, theirs = (each.catalogue.models[LINEAR].value for each in (world, other))
    assert ours.vectors.tobytes() == theirs.vectors.tobytes()
    assert ours.prior.mean.tobytes() == theirs.prior.mean.tobytes()
    assert (other.people[0].ratings == 5.0).all()


@pytest.mark.parametrize("name", POLICIES)
def test_a_rating_that_was_not_revealed_changes_no_pick_before_it(world, name):
    policy, person = make_contestant(name, PolicySettings()), world.people[0]
    met, (profile, _) = play(policy, world, person)
    order = profile.rows[np.argsort(profile.last_t)]
    half = STEPS // 2
    hidden = ~np.isin(person.rows, order[:half])
    liar = replace(person, ratings=np.where(hidden, 6.0 - person.ratings, person.ratings))
    told, (lied_to, _) = play(policy, world, liar)
    again = lied_to.rows[np.argsort(lied_to.last_t)]
    assert again[: half + 1].tolist() == order[: half + 1].tolist()
    assert told[:half].tolist() == met[:half].tolist()


@pytest.mark.parametrize("name", POLICIES)
def test_a_score_does_not_change_when_other_candidates_come_or_go(world, name):
    policy, person = make_contestant(name, PolicySettings()), world.people[0]
    profile, statistics = know(world, person.user_id, person.rows[:5], person.ratings[:5])
    state = profile, world.catalogue, statistics
    left = person.rows[5:]
    together = policy.score(left, *state)
    for part in (left[:1], left[::2], left[::-1], np.union1d(left, np.arange(10))):
        scores = policy.score(part, *state)
        of_row = dict(zip(part.tolist(), scores.score.tolist(), strict=True))
        assert [of_row[row] for row in left.tolist() if row in of_row] == [
            score for row, score in zip(left.tolist(), together.score.tolist(), strict=True) if row in of_row
        ]


@pytest.mark.parametrize("name", POLICIES)
def test_each_step_is_an_item_the_person_rated_and_none_comes_twice(world, name):
    person = world.people[1]
    met, (profile, statistics) = play(make_contestant(name, PolicySettings()), world, person)
    assert len(set(profile.rows.tolist())) == STEPS == profile.t
    assert set(profile.rows.tolist()) <= set(person.rows.tolist())
    own = dict(zip(person.rows.tolist(), person.ratings.tolist(), strict=True))
    order = profile.rows[np.argsort(profile.last_t)]
    assert met.tolist() == [own[row] for row in order.tolist()]
    assert statistics.total_count == world.statistics.total_count + STEPS


def test_what_the_ceiling_expects_is_the_policys_own_score_when_it_knows_all_but_the_item(world, task):
    person, policy = world.people[0], make_contestant("linear", task.settings)
    expected = expect_knowing_all(world, person, task.settings)
    for place in range(len(person.rows)):
        rest = np.arange(len(person.rows)) != place
        state = know(world, person.user_id, person.rows[rest], person.ratings[rest])
        score = policy.score(person.rows[place : place + 1], state[0], world.catalogue, state[1]).score[0]
        # The person's ratings move the mean of all ratings a little, to which few-rated items' means are shrunk.
        assert expected[place] == pytest.approx(score, abs=0.02)


def test_the_first_pick_of_item_means_is_the_best_known(world):
    person = world.people[0]
    policy = make_contestant("item_mean", PolicySettings())
    profile, statistics = know(world, person.user_id, person.rows[:0], person.ratings[:0])
    slate = policy.slate(SlateRequest(1, person.rows), profile, world.catalogue, statistics, Draws(0, "u", "r"))
    assert slate.scores[0] == statistics.means(5.0, 2.75)[person.rows].max()


def test_the_protocol_gives_every_figure(task):
    report = PROTOCOLS["held_out"](replace(task, splits=(0, 1)))
    figures = report.figures
    assert set(figures["gap_closed"]) == {"random", *POLICIES}
    assert figures["gap_closed"]["random"] == 0.0
    assert all(share <= 1.0 for share in figures["gap_closed"].values())
    assert set(figures["paired_with_item_mean"]) == set(POLICIES) - {"item_mean"}
    assert set(figures["diversity"]) == set(POLICIES)
    assert len(figures["users"]) == 2
    assert figures["mean_rating"]["random"] < figures["mean_rating"]["best"]
    assert {line.policy for line in report.panels[1].lines} == {*POLICIES, "random", "best"}
    assert len(report.tables[0].rows) == len(POLICIES) + 1


def test_a_run_gives_the_same_figures_again(task):
    few = replace(task, policies=("epsilon_greedy", "linear_thompson"), splits=(1,))
    assert evaluate_held_out(few).figures["gap_closed"] == evaluate_held_out(few).figures["gap_closed"]


def test_an_unknown_policy_and_a_log_without_enough_ratings_are_refused(task):
    with pytest.raises(ConfigurationError, match=r"policy must be one of .*linear_linucb.*, got 'best'"):
        evaluate_held_out(replace(task, policies=("best",)))
    few = task.ratings.groupby("user_id").head(20)
    with pytest.raises(DataError, match="no held-out user has 50 ratings or more"):
        evaluate_held_out(replace(task, ratings=few, policies=("item_mean",)))


class TestFigures:
    def split(self, users, **met):
        split = Split([f"u{number}" for number in range(users)])
        for name, values in met.items():
            split.add(name, np.array(values, dtype=np.float64))
        return split

    def test_the_share_is_of_the_way_from_random_to_best(self):
        split = self.split(2, random=[[3.0], [2.0]], best=[[5.0], [4.0]], ours=[[4.0], [3.5]])
        # means 2.5, 4.5 and 3.75
        assert split.share("ours") == 0.625

    def test_the_error_is_that_of_the_users_distances_from_the_share(self):
        split = self.split(2, random=[[3.0], [2.0]], best=[[5.0], [4.0]], ours=[[4.0], [3.5]])
        # (r - random - share (best - random))/width: (1 - 1.25)/2 and (1.5 - 1.25)/2; sd of ±0.125 is 0.1768, /sqrt 2
        assert split.error("ours") == pytest.approx(0.125)

    def test_users_of_several_splits_count_once_in_the_comparison(self):
        met = {"random": [[3.0], [3.0]], "best": [[5.0], [5.0]], "base": [[4.0], [4.0]]}
        first = self.split(2, **met, ours=[[4.5], [4.0]])
        second = self.split(2, **met, ours=[[4.5], [4.5]])
        found = compare([first, second], "ours", "base")
        # user 0: 0.25 and 0.25, user 1: 0 and 0.25, so 0.25 and 0.125: mean 0.1875, sd 0.08839, se 0.0625, z 3
        assert (found["difference"], found["users"]) == (0.1875, 2)
        assert found["se"] == pytest.approx(0.0625)
        assert found["p"] == pytest.approx(math.erfc(3 / math.sqrt(2)))


def test_a_policy_below_a_limit_is_named_as_collapsed(task):
    few = replace(task, policies=("linear",), splits=(0,))
    assert evaluate_held_out(few).figures["collapsed"] == {}
    strict = replace(few, limits=DiversityLimits(coverage=0.0, entropy=50.0))
    collapsed = evaluate_held_out(strict).figures["collapsed"]
    assert set(collapsed) == {"item_mean", "linear"}
    assert collapsed["linear"].endswith("bits is below 50")
