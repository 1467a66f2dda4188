"""Values of items as such: Q(s, i) = v(s) + q(s) . x_i, of which the best item is the nearest by inner product to q(s).

So what is learned is released as an actor, whose proto-action is q(s): the policy needs no other network, no pass over
the items, and no critic. v(s) is what a state is worth whatever is shown; it does not change the order.

Source of the split: Wang et al., Dueling network architectures for deep reinforcement learning, arXiv:1511.06581.
"""

import copy

from torch import Tensor, nn

from recommender.rl.actions import act_roughly
from recommender.rl.networks import Actor, Network
from recommender.rl.state import state_size
from recommender.rl.training import ActorSettings


class ItemValues(nn.Module):
    """Q over all items: q begins as a cloned actor, v at about zero."""

    def __init__(self, cloned: Actor, dim: int, settings: ActorSettings) -> None:
        super().__init__()
        self.actor = copy.deepcopy(cloned).eval()
        self.worth = Network(state_size(settings.frame_size, dim), settings.hidden, 1, dropout=0.0, spread=0.003)
        self._settings = settings

    def values(self, state: Tensor, vectors: Tensor) -> Tensor:
        """Return Q of all items, shape [B, N].

        Args:
            state: shape [B, F (D + 1)].
            vectors: of the items, shape [N, D].
        """
        values: Tensor = self.worth(state) + self.actor(state) @ vectors.T
        return values

    def value(self, state: Tensor, item: Tensor) -> Tensor:
        """Return Q of one item a state, shape [B].

        Args:
            state: shape [B, F (D + 1)].
            item: its vector, shape [B, D].
        """
        value: Tensor = self.worth(state)[:, 0] + (self.actor(state) * item).sum(dim=1)
        return value

    def values_roughly(self, state: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return Q of all items as where it learns, with dropout, shape [B, N], and q, shape [B, D]."""
        s = self._settings
        action = act_roughly(self.actor, state, s.frame_size, s.event_dropout)
        return self.worth(state) + action @ vectors.T, action
