"""Q-learning over items, with double Q, held to what the log can tell.

    Q(s, i) = v(s) + q(s) . x_i
    y       = clamp(r + (1 - done) gamma Q'(s', argmax_i Q(s', i)), -10, 10)
    L       = mean (Q(s, a) - y)^2 + c mean (T log sum_i exp(Q(s, i)/T) - Q(s, a))       every step

Source: Watkins and Dayan 1992, doi:10.1007/BF00992698; as a network with a target, Mnih et al., arXiv:1312.5602; double
Q, van Hasselt et al., arXiv:1509.06461; the second term, Kumar et al., arXiv:2006.04779.
"""

import copy

import torch
from torch import Tensor, nn

from recommender.rl.actions import measure_actions
from recommender.rl.batches import Batch
from recommender.rl.item_values import ItemValues
from recommender.rl.losses import bootstrap, clip_gradients, polyak, value_loss
from recommender.rl.networks import Actor, Critic
from recommender.rl.training import ActorSettings
from recommender.rl.value_losses import anchoring_penalty, double_q


class QLearning:
    """Values of items, and their target."""

    def __init__(self, cloned: Actor, vectors: Tensor, settings: ActorSettings) -> None:
        self.settings, self.vectors = settings, vectors
        self.online = ItemValues(cloned, vectors.shape[1], settings)
        self.target = copy.deepcopy(self.online)
        self.critics: list[Critic] = []
        self._optimiser = torch.optim.Adam(self.online.parameters(), lr=settings.actor_rate)

    @property
    def actor(self) -> Actor:
        """What is released: q, whose nearest item by inner product is the one of the highest value."""
        return self.online.actor

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Learn from transitions; return losses and values."""
        s = self.settings
        y = self._targets(batch)
        q, action = self.online.values_roughly(batch.state, self.vectors)
        chosen = q.gather(1, batch.row[:, None])[:, 0]
        fit, penalty = value_loss(chosen, y), anchoring_penalty(q, batch.row, s.temperature)
        self._optimiser.zero_grad()
        (fit + s.anchoring * penalty).backward()  # type: ignore[no-untyped-call]
        clip_gradients(self.online.parameters(), s.gradient_bound)
        self._optimiser.step()
        polyak(self.target, self.online, s.tau)
        scalars = {
            "loss/value": fit.item(),
            "loss/clone": penalty.item() / s.temperature,
            "value/q": chosen.mean().item(),
            "value/target": y.mean().item(),
            "value/policy": q.detach().amax(dim=1).mean().item(),
        }
        return scalars | (measure_actions(action, batch.action, self.vectors) if step % s.policy_step == 0 else {})

    def _targets(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            online, target = (each.values(batch.next_state, self.vectors) for each in (self.online, self.target))
            return bootstrap(batch.reward, batch.done, double_q(online, target), self.settings.gamma)

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        return {"online": self.online, "target": self.target, "optimiser": self._optimiser}
