"""Behaviour cloning: an actor and item vectors that say which item comes next, learned together.

    pi(i | s) = softmax(mu(s) . x_i / T),  minimised: mean -log pi(the item that came | s)

It is where every actor here begins, and the behaviour policy beta of reinforce. The item vectors become the space of
actions, and their lengths say how often an item is rated, which directions of taste alone do not.
"""

import copy

import torch
from torch import Tensor, nn

from recommender.rl.actions import act_roughly
from recommender.rl.batches import FrameTensors
from recommender.rl.losses import cloning_softmax
from recommender.rl.networks import Actor, RecurrentActor
from recommender.rl.training import ActorSettings


class Cloned(nn.Module):
    """An actor, and the vectors of items [N, D] that its states and actions are made of."""

    def __init__(self, actor: Actor, vectors: Tensor) -> None:
        super().__init__()
        self.actor = actor
        self.vectors = nn.Parameter(vectors)


class Cloner:
    """An actor and item vectors, with their exponential averages over steps."""

    def __init__(self, vectors: Tensor, settings: ActorSettings) -> None:
        self.settings = settings
        kind = RecurrentActor if settings.encoder == "lstm" else Actor
        actor = kind(settings.frame_size, vectors.shape[1], settings.hidden, settings.dropout)
        self.online = Cloned(actor, vectors.clone())
        self.average = copy.deepcopy(self.online).eval()
        self.optimiser = torch.optim.AdamW(
            self.online.parameters(), lr=settings.clone_rate, weight_decay=settings.weight_decay
        )

    def update(self, frames: FrameTensors, step: int) -> dict[str, float]:
        """Learn from frames drawn evenly; return the loss."""
        s, vectors = self.settings, self.online.vectors
        places = torch.randint(len(frames), (s.clone_rows,))
        state = frames.states(places, vectors)
        action = act_roughly(self.online.actor, state, s.frame_size, s.event_dropout)
        loss = cloning_softmax(action @ vectors.T / s.temperature, frames.rows[places, -1])
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        kept_of_average = min(s.averaging, step / (step + 10.0))
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.online.parameters(), strict=True):
                mean.lerp_(weight, 1.0 - kept_of_average)
        return {"loss/clone": loss.item()}

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        return {"online": self.online, "average": self.average, "optimiser": self.optimiser}
