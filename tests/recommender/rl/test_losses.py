import copy
import math

import pytest
import torch
from torch import nn, tensor

from recommender.rl.losses import (
    anchored_policy_loss,
    bootstrap,
    clip_gradients,
    cloning_distance,
    cloning_softmax,
    conservative_penalty,
    importance,
    policy_loss,
    polyak,
    reinforce_loss,
    smooth_action,
    top_k_weight,
    value_loss,
)


def test_a_target_adds_what_follows_unless_nothing_does():
    y = bootstrap(tensor([1.0, 1.0]), tensor([0.0, 1.0]), tensor([4.0, 4.0]), 0.75)
    assert y.tolist() == [4.0, 1.0]


def test_a_target_stays_within_ten():
    assert bootstrap(tensor([5.0, -4.0]), tensor([0.0, 0.0]), tensor([9.0, -9.0]), 1.0).tolist() == [10.0, -10.0]


def test_no_gradient_flows_through_a_target():
    value = tensor([4.0], requires_grad=True)
    assert not bootstrap(tensor([1.0]), tensor([0.0]), value, 0.5).requires_grad


def test_the_loss_of_values_is_the_mean_square():
    assert value_loss(tensor([1.0, 3.0]), tensor([0.0, 1.0])).item() == 2.5  # (1 + 4)/2


def test_a_better_action_has_a_lower_policy_loss():
    assert policy_loss(tensor([1.0, 3.0])).item() == -2.0


def test_noise_of_a_target_action_is_bounded():
    smooth = smooth_action(tensor([[1.0, 1.0]]), tensor([[-9.0, 0.25]]), 0.5)
    assert smooth.tolist() == [[0.5, 1.25]]


def test_the_scale_of_values_does_not_change_an_anchored_loss():
    small = anchored_policy_loss(tensor([2.0, -1.0]), tensor(1.0), 0.6)  # 1 - 0.6/1.5 * 0.5
    large = anchored_policy_loss(tensor([200.0, -100.0]), tensor(1.0), 0.6)
    assert small.item() == pytest.approx(0.8)
    assert large.item() == pytest.approx(0.8)


def test_the_distance_of_cloning_is_a_coordinate_s():
    assert cloning_distance(tensor([[1.0, 2.0]]), tensor([[1.0, 0.0]])).item() == 2.0


def test_cloning_is_the_chance_of_the_item_that_came():
    logits = torch.log(tensor([[0.25, 0.75], [0.5, 0.5]]))
    expected = -(math.log(0.25) + math.log(0.5)) / 2
    assert cloning_softmax(logits, tensor([0, 1])).item() == pytest.approx(expected)


def test_a_conservative_penalty_is_zero_where_all_items_are_worth_the_same():
    assert conservative_penalty(tensor([[2.0, 2.0, 2.0]]), tensor([2.0])).item() == pytest.approx(0.0, abs=1e-6)


def test_a_conservative_penalty_rises_with_items_outside_the_log():
    penalty = conservative_penalty(torch.log(tensor([[1.0, 3.0]])), tensor([0.5]))
    assert penalty.item() == pytest.approx(math.log(2.0) - 0.5)


def test_an_item_sure_to_be_shown_gains_nothing_from_a_slate():
    weights = top_k_weight(torch.log(tensor([1.0, 0.5, 1e-9])), 4)  # 4 (1 - pi)^3
    assert weights.tolist() == pytest.approx([0.0, 0.5, 4.0], abs=1e-5)


def test_a_slate_of_one_needs_no_correction():
    assert top_k_weight(torch.log(tensor([0.9, 0.1])), 1).tolist() == [1.0, 1.0]


def test_importance_is_the_ratio_of_chances_up_to_its_cap():
    ratio = importance(torch.log(tensor([0.4, 0.4])), torch.log(tensor([0.2, 0.01])), 5.0)
    assert ratio.tolist() == pytest.approx([2.0, 5.0])


def test_the_gradient_of_reinforce_is_weight_times_return():
    log_pi = tensor([-1.0, -2.0], requires_grad=True)
    loss = reinforce_loss(log_pi, tensor([2.0, 1.0]), tensor([0.5, 1.0]))
    loss.backward()
    assert loss.item() == 1.5  # (2 * 0.5 * 1 + 1 * 1 * 2)/2
    assert log_pi.grad.tolist() == [-0.5, -0.5]


def test_every_parameter_of_a_target_moves_by_tau():
    online, target = nn.Linear(2, 2), nn.Linear(2, 2)
    before = copy.deepcopy(target)
    polyak(target, online, 0.25)
    for name, moved in target.named_parameters():
        expected = 0.75 * before.get_parameter(name) + 0.25 * online.get_parameter(name)
        torch.testing.assert_close(moved, expected)


def test_gradients_keep_their_direction_when_they_are_clipped():
    weight = nn.Parameter(tensor([0.0, 0.0]))
    weight.grad = tensor([3.0, 4.0])
    norm = clip_gradients([weight], 1.0)
    assert norm.item() == 5.0
    assert weight.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-5)


def test_a_bound_that_turns_gradients_around_is_refused():
    with pytest.raises(ValueError, match="bound of gradients must be above 0, got -1"):
        clip_gradients([], -1)


def test_tau_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"tau must be in \(0, 1\], got 0.0"):
        polyak(nn.Linear(1, 1), nn.Linear(1, 1), 0.0)
