"""What each algorithm does at an update."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from recommender.rl.actions import items_near
from recommender.rl.batches import Batch
from recommender.rl.bcq import Bcq
from recommender.rl.ddpg import Ddpg
from recommender.rl.loop import LEARNERS
from recommender.rl.networks import Actor
from recommender.rl.qlearning import QLearning
from recommender.rl.reinforce import Reinforce
from recommender.rl.sarsa import Sarsa
from recommender.rl.states import States
from recommender.rl.td3 import Td3
from recommender.rl.training import ActorSettings

SETTINGS = ActorSettings(frame_size=2, hidden=8, tau=0.25, policy_step=2, penalised=4, penalised_rows=4)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch(size=6, seed=0):
    torch.manual_seed(seed)
    vectors = torch.randn(10, 3)
    rows = torch.randint(10, (size,))
    places, ratings = torch.randint(10, (2, size, 2)), torch.randn(2, size, 2)
    states = [States(vectors, *each) for each in zip(places, ratings, strict=True)]
    rewards, next_rows = torch.randn(size), torch.randint(10, (size,))
    made = Batch(states[0], vectors[rows], rows, rewards, states[1], torch.zeros(size), next_rows)
    return made, vectors


def learner(kind, settings=SETTINGS):
    made, vectors = batch()
    return kind(Actor(2, 3, 8, 0.5, spread=0.5), vectors, settings), made


def weights(part):
    return [weight.clone() for weight in part.parameters()]


def move(*parts):
    """Make weights others than those of their targets."""
    for part in parts:
        for weight in part.parameters():
            weight.data.add_(1.0)


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        (Ddpg, [("actor_target", "actor"), ("critic_target", "critic")]),
        (Td3, [("actor_target", "actor"), ("critic_targets", "critics")]),
        (Bcq, [("critic_targets", "critics")]),
        (QLearning, [("target", "online")]),
        (Sarsa, [("targets", "twins")]),
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
def test_the_actors_loss_leaves_no_gradient_in_the_critics(kind):
    (moved, made), (unmoved, _) = learner(kind), learner(kind)
    for part in moved.parts:
        moved.parts[part].load_state_dict(copy.deepcopy(unmoved.parts[part].state_dict()))
    for each, step in ((moved, 2), (unmoved, 1)):
        torch.manual_seed(5)
        each.update(made, step)
    for one, other in zip(moved.critics[0].parameters(), unmoved.critics[0].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


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


def test_a_target_action_is_smoothed_by_noise_in_units_of_the_vectors_spread():
    made, vectors = batch()
    settings = replace(SETTINGS, noise=0.5, noise_bound=0.5, temperature=1.0)
    learned = Td3(Actor(2, 3, 8, 0.5, spread=0.5), 3.0 * vectors, settings)
    move(learned.actor, *learned.critics)
    torch.manual_seed(3)
    y = learned._targets(made)
    torch.manual_seed(3)
    spread = learned.vectors.std()
    noise = (0.5 * spread * torch.randn(6, 3)).clamp(-0.5 * spread, 0.5 * spread)
    near = items_near(learned.actor_target(made.next_state) + noise, learned.vectors, 1.0)
    worth = torch.minimum(*(target.value(made.next_state, near) for target in learned.critic_targets))
    torch.testing.assert_close(y, (made.reward + SETTINGS.gamma * worth).detach())


def test_an_actor_is_in_evaluation_after_every_update():
    for kind in LEARNERS.values():
        learned, made = learner(kind)
        learned.update(made, 2)
        assert not learned.actor.training


@pytest.mark.parametrize(("kind", "part"), [(Reinforce, "behaviour"), (Bcq, "actor")])
def test_the_behaviour_policy_stays_as_it_was(kind, part):
    learned, made = learner(kind)
    before = weights(learned.parts[part])
    for step in (1, 2):
        learned.update(made, step)
    assert all(torch.equal(old, new) for old, new in zip(before, learned.parts[part].parameters(), strict=True))


def targets_of(learned, made):
    """y of a learner, one row a network where each has its own; Bcq also says how many items were allowed."""
    y = learned._targets(made)
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("kind", [Ddpg, Td3, Bcq, QLearning, Sarsa])
def test_a_last_frame_is_worth_its_reward(kind):
    learned, made = learner(kind)
    over = replace(made, done=torch.ones(6))
    for y in torch.atleast_2d(targets_of(learned, over)):
        torch.testing.assert_close(y, made.reward)
    assert not torch.allclose(torch.atleast_2d(targets_of(learned, made))[0], made.reward)


@pytest.mark.parametrize("kind", [Ddpg, Td3, Bcq, QLearning, Sarsa])
def test_values_come_nearer_to_their_targets(kind):
    settings = replace(SETTINGS, conservative=0.0, anchoring=0.0, dropout=0.0, event_dropout=0.0)
    learned, made = learner(kind, replace(settings, actor_rate=1e-2, critic_rate=1e-2, policy_step=1000))
    losses = [learned.update(made, step)["loss/value"] for step in range(1, 40)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", [Ddpg, Td3, Reinforce, QLearning, Sarsa])
def test_what_came_becomes_likelier(kind):
    settings = replace(SETTINGS, actor_rate=1e-2, value_weight=0.0, policy_step=1, dropout=0.0, event_dropout=0.0)
    learned, made = learner(kind, settings)
    losses = [learned.update(made, step)["loss/clone"] for step in range(1, 40)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", [Ddpg, Td3])
def test_the_actor_climbs_where_its_critic_points(kind):
    settings = replace(SETTINGS, actor_rate=1e-2, value_weight=50.0, policy_step=1, dropout=0.0, event_dropout=0.0)
    learned, made = learner(kind, replace(settings, critic_rate=1e-9, conservative=0.0, temperature=1.0))
    for critic in learned.critics:
        torch.nn.init.normal_(critic.linear3.weight)
    values = [learned.update(made, step)["value/policy"] for step in range(1, 40)]
    assert values[-1] > values[0] + 0.05


def test_the_policy_goes_to_what_was_rated_well():
    made, vectors = batch()
    settings = replace(SETTINGS, actor_rate=1e-2, value_weight=50.0, dropout=0.0, event_dropout=0.0, slate=1)
    learned = Reinforce(Actor(2, 3, 8, 0.0, spread=0.5), vectors, settings)
    same = replace(
        made.states, places=made.states.places[:1].expand(6, -1), rewards=made.states.rewards[:1].expand(6, -1)
    )
    alike = replace(made, states=same, reward=torch.tensor([5.0] + [-4.0] * 5))
    for step in range(1, 60):
        learned.update(alike, step)
    assert (learned.actor(alike.state[:1]) @ vectors.T).argmax().item() == alike.row[0].item()


def test_the_loss_of_reinforce_has_both_corrections_and_a_reward_that_is_not_below_zero():
    learned, made = learner(Reinforce, replace(SETTINGS, dropout=0.0, event_dropout=0.0, value_weight=0.5, slate=3))
    learned.actor.dropout = 0.0
    before = copy.deepcopy(learned.actor)
    for weight in learned.actor.parameters():
        weight.data.mul_(1.2)
    log_pi, log_beta = (
        torch.log_softmax(actor(made.state) @ learned.vectors.T / SETTINGS.temperature, dim=1)[range(6), made.row]
        for actor in (learned.actor, before)
    )
    weight = torch.clamp((log_pi - log_beta).exp(), max=5.0) * 3 * (1 - log_pi.exp()) ** 2
    expected = -log_pi.mean() - 0.5 * (weight * (made.reward + 4) / 9 * log_pi).mean()
    scalars = learned.update(made, 1)
    assert scalars["weight/mean"] == pytest.approx(weight.mean().item(), rel=1e-4)
    assert scalars["loss/policy"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_target_is_what_the_target_networks_say_of_items_near_the_target_actor():
    learned, made = learner(Ddpg)
    moved = copy.deepcopy(learned)
    move(moved.actor, moved.critics[0])
    near = items_near(learned.actor_target(made.next_state), learned.vectors, SETTINGS.temperature)
    expected = made.reward + SETTINGS.gamma * learned.critic_target.value(made.next_state, near)
    for each in (learned, moved):
        torch.testing.assert_close(targets_of(each, made), expected.detach())


def test_q_learning_asks_its_target_of_the_item_that_it_finds_best_itself():
    learned, made = learner(QLearning)
    for weight in learned.target.parameters():
        weight.data.mul_(-1.0)
    rows = learned.online.values(made.next_state, learned.vectors).argmax(dim=1)
    worth = learned.target.value(made.next_state, learned.vectors[rows])
    expected = (made.reward + SETTINGS.gamma * worth).clamp(-10, 10)
    torch.testing.assert_close(targets_of(learned, made), expected.detach())
    assert not torch.equal(rows, learned.target.values(made.next_state, learned.vectors).argmax(dim=1))


def test_sarsa_asks_the_other_target_of_the_item_that_came_next():
    learned, made = learner(Sarsa)
    for weight in learned.targets[1].parameters():
        weight.data.mul_(-1.0)
    came = learned.vectors[made.next_row]
    values = [target.value(made.next_state, came) for target in learned.targets]
    for y, other in zip(targets_of(learned, made), reversed(values), strict=True):
        torch.testing.assert_close(y, (made.reward + SETTINGS.gamma * other).clamp(-10, 10).detach())


def test_bcq_asks_of_the_best_item_that_the_behaviour_policy_allows():
    learned, made = learner(Bcq, replace(SETTINGS, allowed_ratio=0.5, temperature=1.0))
    move(*learned.critics)
    y, count = learned._targets(made)
    expected, counts = [], []
    for row in range(6):
        state = made.next_state[row : row + 1]
        chances = torch.softmax(learned.actor(state)[0] @ learned.vectors.T, dim=0)
        allowed = [item for item in range(10) if chances[item] >= 0.5 * chances.max()]
        worth = []
        for item in allowed:
            low, high = sorted(t.value(state, learned.vectors[item : item + 1]).item() for t in learned.critic_targets)
            worth.append(0.75 * low + 0.25 * high)
        expected.append(made.reward[row].item() + 0.5 * max(worth))
        counts.append(len(allowed))
    assert y.tolist() == pytest.approx(expected, abs=1e-5)
    assert count == pytest.approx(np.mean(counts))
    assert 1 < count < 10
    alone = learner(Bcq, replace(SETTINGS, allowed_ratio=1.0))[0]._targets(made)[1]
    assert alone == 1.0


@pytest.mark.parametrize("kind", [QLearning, Sarsa])
def test_anchoring_counts_by_its_weight(kind):
    free, held = (learner(kind, replace(SETTINGS, anchoring=weight, actor_rate=1e-2)) for weight in (0.0, 500.0))
    last = [[learned.update(made, step)["loss/clone"] for step in range(1, 30)][-1] for learned, made in (free, held)]
    assert last[1] < last[0]


@pytest.mark.parametrize("kind", [Td3, Bcq, Sarsa])
def test_both_of_two_networks_learn(kind):
    learned, made = learner(kind, replace(SETTINGS, conservative=0.0, anchoring=0.0))
    part = learned.parts["twins" if kind is Sarsa else "critics"]
    before = weights(part)
    learned.update(made, 1)
    assert not any(torch.equal(old, new) for old, new in zip(before, part.parameters(), strict=True))


@pytest.mark.parametrize("kind", LEARNERS.values())
def test_no_gradient_is_longer_than_its_bound(kind):
    # Adam's first step is rate g/(|g| + 1e-8), so with |g| of at most 1e-12 it is at most 1e-4 rate
    bounded = replace(SETTINGS, gradient_bound=1e-12, actor_rate=1.0, critic_rate=1.0, policy_step=1)
    learned, made = learner(kind, bounded)
    parts = {name: part for name, part in learned.parts.items() if isinstance(part, torch.nn.Module)}
    before = {name: weights(part) for name, part in parts.items()}
    learned.update(made, 1)
    for name, part in parts.items():
        for old, new in zip(before[name], part.parameters(), strict=True):
            assert (old - new).abs().max() < 2e-4


@pytest.mark.parametrize("kind", [Ddpg, Td3])
def test_values_of_items_outside_the_log_are_kept_down(kind):
    settings = replace(SETTINGS, conservative=50.0, critic_rate=1e-2, penalised=10, penalised_rows=6)
    learned, made = learner(kind, settings)
    for step in range(1, 60):
        learned.update(made, step)
    for critic in learned.critics:
        others = critic.values(made.state, learned.vectors).mean(dim=1)
        assert (critic.value(made.state, made.action) > others + 0.5).float().mean() > 0.8
