"""Twin delayed deterministic policy gradient, held to what the log can tell (TD3+BC).

    a'    = the items that mu'(s') + clip(noise, -bound, bound) stands for
    y     = clamp(r + (1 - done) gamma min(Q1', Q2')(s', a'), -10, 10)
    L_Q   = sum over both of mean (Q(s, a) - y)^2 + c mean (log mean_i exp Q(s, x_i) - Q(s, a))
    L_mu  = -log pi(a | s) - w/mean|Q1| mean Q1(s, the items that mu(s) stands for)     every policy_step

Source: Fujimoto et al., arXiv:1802.09477 and, for cloning in the actor's loss, arXiv:2106.06860. What a proto-action
stands for is said in :mod:`recommender.rl.ddpg`.
"""

import copy

import torch
from torch import Tensor, nn

from recommender.rl.actions import act_roughly_in, items_near, measure_actions
from recommender.rl.batches import Batch
from recommender.rl.losses import (
    anchored_policy_loss,
    bootstrap,
    clip_gradients,
    cloning_softmax,
    conservative_penalty,
    polyak,
    smooth_action,
    value_loss,
)
from recommender.rl.networks import Actor, Critic
from recommender.rl.training import ActorSettings


class Td3:
    """An actor, twin critics, and targets of all three."""

    def __init__(self, cloned: Actor, vectors: Tensor, settings: ActorSettings) -> None:
        self.settings, self.vectors = settings, vectors
        self.actor = copy.deepcopy(cloned).eval()
        self.critics = [Critic(settings.frame_size, vectors.shape[1], settings.hidden) for _ in range(2)]
        self._twins = nn.ModuleList(self.critics)
        self.actor_target, self.critic_targets = copy.deepcopy(self.actor), copy.deepcopy(self._twins)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), lr=settings.actor_rate, fused=True)
        self.critic_optimiser = torch.optim.Adam(self._twins.parameters(), lr=settings.critic_rate, fused=True)
        self._spread = float(vectors.std())

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Learn from transitions; return losses and values."""
        s = self.settings
        y = self._targets(batch)
        each = [critic.value_of(batch.states, batch.action) for critic in self.critics]
        loss = fit = torch.stack([value_loss(q, y) for q in each]).sum()
        scalars = {"loss/value": fit.item() / 2, "value/q": each[0].mean().item(), "value/target": y.mean().item()}
        if s.conservative:
            penalty = self._penalty(batch, each)
            loss = fit + s.conservative * penalty
            scalars["loss/conservative"] = penalty.item() / 2
        self.critic_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients(self._twins.parameters(), s.gradient_bound)
        self.critic_optimiser.step()
        if step % s.policy_step == 0:
            scalars |= self._improve(batch)
        polyak(self.critic_targets, self._twins, s.tau)
        polyak(self.actor_target, self.actor, s.tau)
        return scalars

    def _penalty(self, batch: Batch, each: list[Tensor]) -> Tensor:
        s = self.settings
        drawn, few = self.vectors[torch.randint(len(self.vectors), (s.penalised,))], s.penalised_rows
        pairs = zip(self.critics, each, strict=True)
        state = batch.states.first(few).flat
        return torch.stack([conservative_penalty(critic.values(state, drawn), q[:few]) for critic, q in pairs]).sum()

    def _targets(self, batch: Batch) -> Tensor:
        s = self.settings
        with torch.no_grad():
            action = self.actor_target.act(batch.next_states)
            noise = torch.randn(action.shape) * s.noise * self._spread
            smooth = smooth_action(action, noise, s.noise_bound * self._spread)
            near = items_near(smooth, self.vectors, s.temperature)
            values = [target.value_of(batch.next_states, near) for target in self.critic_targets]  # type: ignore[operator]
            return bootstrap(batch.reward, batch.done, torch.minimum(*values), s.gamma)

    def _improve(self, batch: Batch) -> dict[str, float]:
        s = self.settings
        action = act_roughly_in(self.actor, batch.states, s.event_dropout)
        logits = action @ self.vectors.T / s.temperature
        near = torch.softmax(logits, dim=1) @ self.vectors
        q, cloning = self.critics[0].value_of(batch.states, near), cloning_softmax(logits, batch.row)
        loss = anchored_policy_loss(q, cloning, s.value_weight)
        self.actor_optimiser.zero_grad()
        loss.backward(inputs=list(self.actor.parameters()))  # type: ignore[no-untyped-call]
        clip_gradients(self.actor.parameters(), s.gradient_bound)
        self.actor_optimiser.step()
        scalars = {"loss/policy": loss.item(), "loss/clone": cloning.item(), "value/policy": q.mean().item()}
        return scalars | measure_actions(action, batch.action, self.vectors)

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        return {
            "actor": self.actor,
            "critics": self._twins,
            "actor_target": self.actor_target,
            "critic_targets": self.critic_targets,
            "actor_optimiser": self.actor_optimiser,
            "critic_optimiser": self.critic_optimiser,
        }
