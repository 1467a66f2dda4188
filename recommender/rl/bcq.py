"""Batch-constrained Q-learning over items: the best of what whoever made the log might have shown.

    pi_b(i | s) = softmax(mu_b(s) . x_i / T), the cloned actor, which stays as it is
    allowed     = {i among the nearest: pi_b(i | s') >= ratio max_j pi_b(j | s')}
    y           = clamp(r + (1 - done) gamma max over allowed i of (l min_j + (1 - l) max_j) Q_j'(s', x_i), -10, 10)
    L_Q         = sum over both of mean (Q_j(s, a) - y)^2                                      every step

Source: Fujimoto, Meger and Precup, arXiv:1812.02900, which has twin critics and a generator of continuous actions;
over discrete actions, a ratio of chances in the generator's place, Fujimoto et al., arXiv:1910.01708. Items are
discrete, so that nothing is perturbed.
"""

import copy

import torch
from torch import Tensor, nn

from recommender.rl.actions import measure_actions
from recommender.rl.batches import Batch
from recommender.rl.losses import bootstrap, clip_gradients, polyak, value_loss
from recommender.rl.model import RERANKED
from recommender.rl.networks import Actor, Critic
from recommender.rl.training import ActorSettings
from recommender.rl.value_losses import allowed_items, best_allowed, soft_minimum


class Bcq:
    """Twin critics with their targets, and the behaviour policy that says what they are asked of."""

    def __init__(self, cloned: Actor, vectors: Tensor, settings: ActorSettings) -> None:
        self.settings, self.vectors = settings, vectors
        self.actor = copy.deepcopy(cloned).eval()
        self.critics = [Critic(settings.frame_size, vectors.shape[1], settings.hidden) for _ in range(2)]
        self._twins = nn.ModuleList(self.critics)
        self.critic_targets = copy.deepcopy(self._twins)
        self._optimiser = torch.optim.Adam(self._twins.parameters(), lr=settings.critic_rate)

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Learn from transitions; return losses and values."""
        s = self.settings
        y, count = self._targets(batch)
        each = [critic.value(batch.state, batch.action) for critic in self.critics]
        fit = torch.stack([value_loss(q, y) for q in each]).sum()
        self._optimiser.zero_grad()
        fit.backward()  # type: ignore[no-untyped-call]
        clip_gradients(self._twins.parameters(), s.gradient_bound)
        self._optimiser.step()
        polyak(self.critic_targets, self._twins, s.tau)
        scalars = {
            "loss/value": fit.item() / 2,
            "value/q": each[0].mean().item(),
            "value/target": y.mean().item(),
            "allowed/mean": count,
        }
        if step % s.policy_step == 0:
            with torch.no_grad():
                scalars |= measure_actions(self.actor(batch.state), batch.action, self.vectors)
        return scalars

    def _targets(self, batch: Batch) -> tuple[Tensor, float]:
        """Return y, and how many items were allowed on average."""
        s = self.settings
        with torch.no_grad():
            logits = self.actor(batch.next_state) @ self.vectors.T / s.temperature
            likeliest = logits.topk(min(s.rerank or RERANKED[0], logits.shape[1]), dim=1)
            is_allowed = allowed_items(likeliest.values, s.allowed_ratio)
            items = self.vectors[likeliest.indices]
            twins = [target.values(batch.next_state, items) for target in self.critic_targets]  # type: ignore[operator]
            best = best_allowed(soft_minimum(torch.stack(twins), s.soft_minimum), is_allowed)
            return bootstrap(batch.reward, batch.done, best, s.gamma), is_allowed.sum(dim=1).float().mean().item()

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        return {
            "actor": self.actor,
            "critics": self._twins,
            "critic_targets": self.critic_targets,
            "optimiser": self._optimiser,
        }
