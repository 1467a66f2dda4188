"""SARSA over items, with two networks: what the log's own next item is worth, held to what the log can tell.

    Q_j(s, i) = v_j(s) + q_j(s) . x_i,   j = 1, 2
    y_1, y_2  = clamp(r + (1 - done) gamma Q2'(s', a'), -10, 10), the same of Q1',   a' the item that came next
    L         = sum over both of mean (Q_j(s, a) - y_j)^2 + c mean (T log sum_i exp(Q_j(s, i)/T) - Q_j(s, a))

Source: Rummery and Niranjan 1994, On-line Q-learning using connectionist systems; double, Ganger et al. 2016,
doi:10.4236/jdaip.2016.44014. One greedy step from the log's own values: Brandfonbrener et al., arXiv:2106.08909.
"""

import copy

import torch
from torch import Tensor, nn

from recommender.rl.actions import measure_actions
from recommender.rl.batches import Batch
from recommender.rl.item_values import ItemValues
from recommender.rl.losses import clip_gradients, polyak, value_loss
from recommender.rl.networks import Actor, Critic
from recommender.rl.training import ActorSettings
from recommender.rl.value_losses import anchoring_penalty, crossed_targets


class Sarsa:
    """Twin values of items, and their targets."""

    def __init__(self, cloned: Actor, vectors: Tensor, settings: ActorSettings) -> None:
        self.settings, self.vectors = settings, vectors
        self.twins = nn.ModuleList(ItemValues(cloned, vectors.shape[1], settings) for _ in range(2))
        self.targets = copy.deepcopy(self.twins)
        self.critics: list[Critic] = []
        self._optimiser = torch.optim.Adam(self.twins.parameters(), lr=settings.actor_rate)

    @property
    def actor(self) -> Actor:
        """What is released: q of the first, whose nearest item by inner product is the one of the highest value."""
        actor = self.twins[0].actor
        assert isinstance(actor, Actor)
        return actor

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Learn from transitions; return losses and values, of the first network unless said otherwise."""
        s = self.settings
        y = self._targets(batch)
        each = [twin.values_roughly(batch.state, self.vectors) for twin in self.twins]  # type: ignore[operator]
        chosen = [q.gather(1, batch.row[:, None])[:, 0] for q, _ in each]
        fits = torch.stack([value_loss(q, own) for q, own in zip(chosen, y, strict=True)])
        penalties = torch.stack([anchoring_penalty(q, batch.row, s.temperature) for q, _ in each])
        self._optimiser.zero_grad()
        (fits + s.anchoring * penalties).sum().backward()  # type: ignore[no-untyped-call]
        clip_gradients(self.twins.parameters(), s.gradient_bound)
        self._optimiser.step()
        polyak(self.targets, self.twins, s.tau)
        scalars = {
            "loss/value": fits[0].item(),
            "loss/clone": penalties[0].item() / s.temperature,
            "value/q": chosen[0].mean().item(),
            "value/target": y[0].mean().item(),
            "value/apart": (chosen[0] - chosen[1]).abs().mean().item(),
        }
        action = each[0][1]
        return scalars | (measure_actions(action, batch.action, self.vectors) if step % s.policy_step == 0 else {})

    def _targets(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            came = self.vectors[batch.next_row]
            values = torch.stack([target.value(batch.next_state, came) for target in self.targets])  # type: ignore[operator]
            return crossed_targets(batch.reward, batch.done, values, self.settings.gamma)

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        return {"twins": self.twins, "targets": self.targets, "optimiser": self._optimiser}
