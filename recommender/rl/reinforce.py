"""REINFORCE over items, with corrections for a log that another policy made and for slates of K.

    pi(i | s) = softmax(mu(s) . x_i / T),  beta the same of the cloned actor, which stands for who made the log
    L = -log pi(a | s) - w mean min(pi/beta, cap) K (1 - pi)^(K - 1) R log pi(a | s),  R = (r' + 4)/9 in [0, 1]

Source: Chen et al., arXiv:1812.02353. The first term holds the policy to the log, as in :mod:`recommender.rl.td3`.
"""

import copy

import torch
from torch import Tensor, nn

from recommender.rl.actions import act_roughly, measure_actions
from recommender.rl.batches import Batch
from recommender.rl.losses import clip_gradients, cloning_softmax, importance, reinforce_loss, top_k_weight
from recommender.rl.networks import Actor, Critic
from recommender.rl.state import CENTRED
from recommender.rl.training import ActorSettings


class Reinforce:
    """A policy, and the behaviour policy that it is corrected for."""

    def __init__(self, cloned: Actor, vectors: Tensor, settings: ActorSettings) -> None:
        self.settings, self.vectors = settings, vectors
        self.actor, self._behaviour = copy.deepcopy(cloned).eval(), copy.deepcopy(cloned).eval()
        self.critics: list[Critic] = []
        self._optimiser = torch.optim.Adam(self.actor.parameters(), lr=settings.actor_rate)

    def update(self, batch: Batch, step: int) -> dict[str, float]:  # noqa: ARG002 - every step is alike
        """Learn from transitions; return losses and weights."""
        s = self.settings
        action = act_roughly(self.actor, batch.state, s.frame_size, s.event_dropout)
        logits = action @ self.vectors.T / s.temperature
        log_pi = _log_chance(logits, batch.row)
        with torch.no_grad():
            log_beta = _log_chance(self._behaviour(batch.state) @ self.vectors.T / s.temperature, batch.row)
        weight = importance(log_pi, log_beta, s.weight_cap) * top_k_weight(log_pi, s.slate)
        returns = (batch.reward - CENTRED[0]) / (CENTRED[1] - CENTRED[0])
        gain, cloning = reinforce_loss(log_pi, weight, returns), cloning_softmax(logits, batch.row)
        loss = cloning + s.value_weight * gain
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients(self.actor.parameters(), s.gradient_bound)
        self._optimiser.step()
        scalars = {"loss/policy": loss.item(), "loss/clone": cloning.item(), "weight/mean": weight.mean().item()}
        return scalars | measure_actions(action, batch.action, self.vectors)

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        return {"actor": self.actor, "behaviour": self._behaviour, "optimiser": self._optimiser}


def _log_chance(logits: Tensor, rows: Tensor) -> Tensor:
    return torch.log_softmax(logits, dim=1).gather(1, rows[:, None])[:, 0]
