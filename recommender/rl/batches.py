"""Batches of frames as tensors."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from recommender.arrays import Integers
from recommender.rl.frames import PADDING, Frames
from recommender.rl.states import States


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B transitions.

    Attributes:
        states: those acted in.
        action: vector of the item that came, shape [B, D].
        row: its row, shape [B].
        reward: shape [B].
        next_states: those after.
        done: 1.0 on a user's last frame, shape [B].
        next_row: row of the item that came after, shape [B]; where done, of anything.
    """

    states: States
    action: Tensor
    row: Tensor
    reward: Tensor
    next_states: States
    done: Tensor
    next_row: Tensor

    @property
    def state(self) -> Tensor:
        """The states as numbers, shape [B, F (D + 1)]."""
        return self.states.flat

    @property
    def next_state(self) -> Tensor:
        """The same of those after."""
        return self.next_states.flat


class FrameTensors:
    """Frames as tensors, from which batches are looked up; those of a user stand side by side and in time order."""

    def __init__(self, frames: Frames) -> None:
        self.rows = torch.from_numpy(np.array(frames.rows))
        self.rewards = torch.from_numpy(np.array(frames.rewards, dtype=np.float32))
        self.done = torch.from_numpy(np.array(frames.done, dtype=np.float32))
        self._is_padded = bool((frames.rows == PADDING).any())

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: str) -> Self:
        """Move the frames to a device, and return them."""
        self.rows, self.rewards, self.done = (each.to(device) for each in (self.rows, self.rewards, self.done))
        return self

    def states(self, places: Tensor, vectors: Tensor) -> Tensor:
        """Return the states of some frames alone, shape [B, F (D + 1)]; gradients reach ``vectors`` [N, D]."""
        rows = self.rows[places, :-1]
        items = vectors[rows]
        if self._is_padded:
            items = items * (rows != PADDING)[:, :, None]
        return torch.cat((items.flatten(1), self.rewards[places, :-1]), dim=1)

    def batch(self, places: Tensor, vectors: Tensor) -> Batch:
        """Return the transitions of some frames."""
        rows, rewards = self.rows[places], self.rewards[places]
        items, events = few_items(rows, vectors) if rows.is_cpu else all_items(rows, vectors)
        return Batch(
            states=States(items, events[:, :-1], rewards[:, :-1]),
            action=items[events[:, -1]],
            row=rows[:, -1],
            reward=rewards[:, -1],
            next_states=States(items, events[:, 1:], rewards[:, 1:]),
            done=self.done[places],
            next_row=self.rows[(places + 1).clamp(max=len(self) - 1), -1],
        )


def few_items(rows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vectors of the distinct rows, that of padding zeros, and the place of each row among them."""
    distinct, places = torch.unique(rows, return_inverse=True)
    return vectors[distinct] * (distinct != PADDING)[:, None], places


def all_items(rows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return all vectors and, last, zeros for padding, whose row is -1: a GPU need not say how many are distinct."""
    return torch.cat((vectors, vectors.new_zeros(1, vectors.shape[1]))), rows


class UserBatches:
    """Draws batches by user; a draw is a function of seed and step alone, so training goes on where it stopped."""

    def __init__(self, frames: Frames, users: int, rows: int, seed: int) -> None:
        self._starts = np.flatnonzero(np.diff(frames.users, prepend=-1))
        self._ends = np.append(self._starts[1:], len(frames))
        self._users, self._rows, self._seed = users, rows, seed

    def places(self, step: int) -> Integers:
        """Return the frames of ``users`` users, at most ``rows`` of them, shape [B]."""
        generator = np.random.default_rng([self._seed, step])
        chosen = generator.permutation(len(self._starts))[: self._users]
        places = np.concatenate([np.arange(self._starts[user], self._ends[user]) for user in chosen])
        return places if len(places) <= self._rows else generator.choice(places, self._rows, replace=False)
