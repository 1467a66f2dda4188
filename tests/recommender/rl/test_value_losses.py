import math

import pytest
import torch
from torch import tensor

from recommender.rl.value_losses import (
    allowed_items,
    anchoring_penalty,
    best_allowed,
    crossed_targets,
    double_q,
    soft_minimum,
)


def test_one_network_names_the_best_item_and_the_other_says_what_it_is_worth():
    online, target = tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), tensor([[9.0, -4.0, 8.0], [0.5, 7.0, 6.0]])
    assert double_q(online, target).tolist() == [-4.0, 0.5]


def test_each_of_two_networks_learns_from_what_the_other_says():
    # the first transition: 1 + 0.5 * 6 and 1 + 0.5 * 2; nothing follows the second
    y = crossed_targets(tensor([1.0, 2.0]), tensor([0.0, 1.0]), tensor([[2.0, 9.0], [6.0, 9.0]]), 0.5)
    assert y.tolist() == [[4.0, 2.0], [2.0, 2.0]]


def test_crossed_targets_stay_within_ten():
    y = crossed_targets(tensor([5.0]), tensor([0.0]), tensor([[9.0], [-40.0]]), 1.0)
    assert y.tolist() == [[-10.0], [10.0]]


def test_anchoring_is_the_soft_maximum_over_the_value_in_the_log():
    # T log(exp(log 1) + exp(log 3)) - T log 3 with Q = T log [1, 3], T = 0.5: 0.5 (log 4 - log 3)
    q = 0.5 * torch.log(tensor([[1.0, 3.0]]))
    assert anchoring_penalty(q, tensor([1]), 0.5).item() == pytest.approx(0.5 * math.log(4 / 3))


def test_what_all_items_are_worth_does_not_change_the_anchoring():
    q, rows = tensor([[0.1, -0.3], [0.2, 0.4]]), tensor([0, 1])
    torch.testing.assert_close(anchoring_penalty(q + 5.0, rows, 0.1), anchoring_penalty(q, rows, 0.1))


def test_anchoring_pushes_values_of_other_items_down_and_that_of_the_log_up():
    q = tensor([[1.0, 1.0, 1.0]], requires_grad=True)
    anchoring_penalty(q, tensor([2]), 0.5).backward()
    assert q.grad[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3 - 1])


def test_an_item_is_allowed_by_its_chance_beside_the_likeliest():
    logits = torch.log(tensor([[0.4, 0.13, 0.11, 0.36], [0.1, 0.1, 0.1, 0.7]])) + 2.0
    assert allowed_items(logits, 0.3).tolist() == [[True, True, False, True], [False, False, False, True]]


def test_a_ratio_of_one_allows_the_likeliest_alone():
    assert allowed_items(tensor([[0.0, 1.0, 0.5]]), 1.0).tolist() == [[False, True, False]]


def test_the_lower_of_two_critics_counts_more():
    values = tensor([[1.0, 8.0], [5.0, 4.0]])
    assert soft_minimum(values, 0.75).tolist() == [2.0, 5.0]  # 0.75 * 1 + 0.25 * 5; 0.75 * 4 + 0.25 * 8
    assert soft_minimum(values, 1.0).tolist() == [1.0, 4.0]


def test_no_item_outside_what_is_allowed_is_the_best():
    values = tensor([[1.0, 9.0, 2.0], [-3.0, -1.0, -2.0]])
    assert best_allowed(values, tensor([[True, False, True], [True, False, False]])).tolist() == [2.0, -3.0]
