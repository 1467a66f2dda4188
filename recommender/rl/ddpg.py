"""Deep deterministic policy gradient, held to what the log can tell.

    y     = clamp(r + (1 - done) gamma Q'(s', a'), -10, 10),  a' = the items that mu'(s') stands for
    L_Q   = mean (Q(s, a) - y)^2 + c mean (log mean_i exp Q(s, x_i) - Q(s, a))        every step
    L_mu  = -log pi(a | s) - w/mean|Q| mean Q(s, the items that mu(s) stands for)       every policy_step

A proto-action is not an item, and a critic that saw items alone can say anything of it. So it is asked of the mean of
the items near it, sum_i pi_i x_i with pi = softmax(mu . x_i / T), which lies among them.

Source: Lillicrap et al., arXiv:1509.02971; items near a proto-action: Dulac-Arnold et al., arXiv:1512.07679.
"""

import copy

import torch
from torch import Tensor, nn

from recommender.rl.actions import act_roughly_in, compare_actions, items_near
from recommender.rl.batches import Batch
from recommender.rl.losses import (
    anchored_policy_loss,
    bootstrap,
    clip_gradients,
    cloning_softmax,
    conservative_penalty,
    polyak,
    value_loss,
)
from recommender.rl.networks import Actor, Critic
from recommender.rl.training import ActorSettings


class Ddpg:
    """An actor, its critic, and their targets."""

    def __init__(self, cloned: Actor, vectors: Tensor, settings: ActorSettings) -> None:
        self.settings, self.vectors = settings, vectors
        self.actor = copy.deepcopy(cloned).eval()
        self.critics = [Critic(settings.frame_size, vectors.shape[1], settings.hidden)]
        self.actor_target, self.critic_target = copy.deepcopy(self.actor), copy.deepcopy(self.critics[0])
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), lr=settings.actor_rate, fused=True)
        self.critic_optimiser = torch.optim.Adam(self.critics[0].parameters(), lr=settings.critic_rate, fused=True)

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Learn from transitions; return losses and values."""
        scalars = self.learn(batch, improves=step % self.settings.policy_step == 0)
        return {name: value.item() for name, value in scalars.items()}

    def learn(self, batch: Batch, *, improves: bool) -> dict[str, Tensor]:
        """Learn from transitions without waiting for a device; return losses and values where they were computed.

        Args:
            batch: the transitions.
            improves: whether the actor moves too.
        """
        s, critic = self.settings, self.critics[0]
        y = self._targets(batch)
        q = critic.value_of(batch.states, batch.action)
        loss = fit = value_loss(q, y)
        scalars = {"loss/value": fit, "value/q": q.mean(), "value/target": y.mean()}
        if s.conservative:
            drawn, few = self.vectors[self._draw(s.penalised)], s.penalised_rows
            penalty = conservative_penalty(critic.values(batch.states.first(few).flat, drawn), q[:few])
            loss = fit + s.conservative * penalty
            scalars["loss/conservative"] = penalty
        self.critic_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradients(critic.parameters(), s.gradient_bound)
        self.critic_optimiser.step()
        if improves:
            scalars |= self._improve(batch)
        polyak(self.critic_target, critic, s.tau)
        polyak(self.actor_target, self.actor, s.tau)
        return {name: value.detach() for name, value in scalars.items()}

    def _targets(self, batch: Batch) -> Tensor:
        s = self.settings
        with torch.no_grad():
            near = items_near(self.actor_target.act(batch.next_states), self.vectors, s.temperature)
            return bootstrap(batch.reward, batch.done, self.critic_target.value_of(batch.next_states, near), s.gamma)

    def _draw(self, count: int) -> Tensor:
        return torch.randint(len(self.vectors), (count,), device=self.vectors.device)

    def _improve(self, batch: Batch) -> dict[str, Tensor]:
        s = self.settings
        action = act_roughly_in(self.actor, batch.states, s.event_dropout)
        products = action @ self.vectors.T
        logits = products / s.temperature
        near = torch.softmax(logits, dim=1) @ self.vectors
        q, cloning = self.critics[0].value_of(batch.states, near), cloning_softmax(logits, batch.row)
        loss = anchored_policy_loss(q, cloning, s.value_weight)
        self.actor_optimiser.zero_grad()
        loss.backward(inputs=list(self.actor.parameters()))  # type: ignore[no-untyped-call]
        clip_gradients(self.actor.parameters(), s.gradient_bound)
        self.actor_optimiser.step()
        scalars = {"loss/policy": loss, "loss/clone": cloning, "value/policy": q.mean()}
        return scalars | compare_actions(action, batch.action, self.vectors, products)

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        return {
            "actor": self.actor,
            "critic": self.critics[0],
            "actor_target": self.actor_target,
            "critic_target": self.critic_target,
            "actor_optimiser": self.actor_optimiser,
            "critic_optimiser": self.critic_optimiser,
        }
