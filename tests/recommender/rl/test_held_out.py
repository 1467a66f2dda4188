import math

import numpy as np
import pytest
import torch
from torch import nn

from recommender.ranking.log import RatingLog
from recommender.rl.frames import make_frames
from recommender.rl.held_out import HeldOut


class Fixed(nn.Module):
    """An actor or critic that says the same of every state: actions, or the values of items by their first number."""

    def __init__(self, action=None, sign=1.0):
        super().__init__()
        self.action, self.sign = action, sign

    def forward(self, state):
        return self.action.expand(len(state), -1)

    def values(self, _state, items):
        return self.sign * items[:, :, 0]


def held_out():
    log = RatingLog(np.zeros(4, dtype=int), np.array([0, 1, 2, 2]), np.full(4, 40_000), ("u",), 6)
    return HeldOut(make_frames(log, 2, (0.5, 5.0)), log, 0)


VECTORS = torch.tensor([[9.0], [8.0], [3.0], [4.0], [5.0], [6.0]])
KNOWN = torch.ones(6, dtype=torch.bool)


def test_an_item_is_ranked_among_those_not_seen_before():
    # 0 and 1 were seen; 5, 4 and 3 stand before 2: 1/log2(3 + 2)
    found = held_out().ndcg(Fixed(torch.tensor([1.0])), [], VECTORS, KNOWN, 0)
    assert found == pytest.approx(1 / math.log2(5))


def test_an_event_of_a_seen_item_does_not_count():
    assert len(held_out()) == 1


def test_an_unknown_item_is_ranked_after_all_others():
    known = torch.tensor([True, True, True, True, False, True])
    found = held_out().ndcg(Fixed(torch.tensor([1.0])), [], VECTORS, known, 0)
    assert found == pytest.approx(1 / math.log2(4))


def test_the_lowest_critic_ranks_the_nearest_again():
    actor = Fixed(torch.tensor([1.0]))
    critics = [Fixed(sign=-1.0), Fixed(sign=-1.0)]
    # the two nearest, 5 and 4, change places before 3 and 2
    assert held_out().ndcg(actor, critics, VECTORS, KNOWN, 2) == pytest.approx(1 / math.log2(5))
    # the four nearest are turned around: 2 comes first
    assert held_out().ndcg(actor, critics, VECTORS, KNOWN, 4) == 1.0
