"""What each algorithm does at an update."""

from dataclasses import replace

import pytest
import torch

from recommender.rl.batches import Batch
from recommender.rl.ddpg import Ddpg
from recommender.rl.networks import Actor
from recommender.rl.reinforce import Reinforce
from recommender.rl.td3 import Td3
from recommender.rl.training import ActorSettings

SETTINGS = ActorSettings(frame_size=2, hidden=8, tau=0.25, policy_step=2, penalised=4, penalised_rows=4)


def batch(size=6, seed=0):
    torch.manual_seed(seed)
    vectors = torch.randn(10, 3)
    rows = torch.randint(10, (size,))
    made = Batch(torch.randn(size, 8), vectors[rows], rows, torch.randn(size), torch.randn(size, 8), torch.zeros(size))
    return made, vectors


def learner(kind, settings=SETTINGS):
    made, vectors = batch()
    return kind(Actor(2, 3, 8, 0.5, spread=0.5), vectors, settings), made


def weights(part):
    return [weight.clone() for weight in part.parameters()]


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        (Ddpg, [("actor_target", "actor"), ("critic_target", "critic")]),
        (Td3, [("actor_target", "actor"), ("critic_targets", "critics")]),
    ],
)
def test_every_target_moves_by_tau_at_every_update(kind, pairs):
    learned, made = learner(kind)
    learned.update(made, 2)
    before = {target: weights(learned.parts[target]) for target, _ in pairs}
    learned.update(made, 3)
    for target, online in pairs:
        for old, new, aim in zip(
            before[target], learned.parts[target].parameters(), learned.parts[online].parameters(), strict=True
        ):
            torch.testing.assert_close(new, 0.75 * old + 0.25 * aim)
            assert not torch.equal(old, new)


@pytest.mark.parametrize("kind", [Ddpg, Td3])
def test_the_actor_moves_at_every_policy_step_and_no_other(kind):
    learned, made = learner(kind)
    before = weights(learned.actor)
    assert "loss/policy" not in learned.update(made, 1)
    assert all(torch.equal(old, new) for old, new in zip(before, learned.actor.parameters(), strict=True))
    assert "loss/policy" in learned.update(made, 2)
    assert not all(torch.equal(old, new) for old, new in zip(before, learned.actor.parameters(), strict=True))


@pytest.mark.parametrize("kind", [Ddpg, Td3])
def test_without_a_weight_there_is_no_conservative_penalty(kind):
    learned, made = learner(kind, replace(SETTINGS, conservative=0.0))
    assert "loss/conservative" not in learned.update(made, 1)
    learned, made = learner(kind)
    assert "loss/conservative" in learned.update(made, 1)


def test_the_lower_of_both_targets_counts():
    learned, made = learner(Td3, replace(SETTINGS, noise=0.0, gamma=0.5))
    for target, value in zip(learned.critic_targets, (3.0, 1.0), strict=True):
        for weight in target.parameters():
            weight.data.zero_()
        target.linear3.bias.data.fill_(value)
    torch.testing.assert_close(learned._targets(made), (made.reward + 0.5 * 1.0).clamp(-10, 10))


def test_an_actor_is_in_evaluation_after_every_update():
    for kind in (Ddpg, Td3, Reinforce):
        learned, made = learner(kind)
        learned.update(made, 2)
        assert not learned.actor.training


def test_the_behaviour_policy_stays_as_it_was():
    learned, made = learner(Reinforce)
    before = weights(learned.parts["behaviour"])
    learned.update(made, 1)
    assert all(torch.equal(old, new) for old, new in zip(before, learned.parts["behaviour"].parameters(), strict=True))
