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


def test_critics_rank_what_lies_within_the_margin_and_as_many_as_a_slate_needs():
    # 0 and 1 are seen; of 3..15 the items 15, 14 .. 3 are the nearest in this order, 2 is farthest
    rows = np.array([0, 1, 2, 2])
    log = RatingLog(np.zeros(4, dtype=int), rows, np.full(4, 40_000), ("u",), 16)
    judged = HeldOut(make_frames(log, 2, (0.5, 5.0)), log, 0)
    actor, turned = Fixed(torch.tensor([1.0])), [Fixed(sign=-1.0)]

    def ndcg(vectors, margin):
        return judged.ndcg(actor, turned, vectors, torch.ones(16, dtype=torch.bool), 50, margin)

    line = torch.arange(16.0)[:, None]
    assert ndcg(line, None) == 1.0  # all 14 are turned around: 2 comes first
    assert ndcg(line, 13.0) == 1.0
    assert ndcg(line, 12.0) == 0.0  # 2 lies 13 below 15 and keeps its place, the fourteenth
    near = line.clone()
    near[2] = 6.5  # the tenth of the unseen, with 15 .. 7 before it
    assert ndcg(near, 0.0) == 1.0  # ten are ranked whatever the margin
