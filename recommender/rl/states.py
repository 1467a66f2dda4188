"""Many states that few items make up, and their products with weights.

    W [x_1 .. x_F | r'] = sum_j W_j x_j + W_r r'

W_j x is computed once for each of U items, and not for each of B states. The frames of some users overlap: an item that
a user rated stands in up to F + 1 of them, and popular items in those of many users.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

_PAYING_SHARE = 0.9
"""Up to how many distinct items a state it pays to look products up; the sums take the rest of the time."""


@dataclass(frozen=True, eq=False)
class States:
    """B states.

    Attributes:
        items: vectors that occur in them, shape [U, D].
        places: the vector of each event among these, oldest event first, shape [B, F].
        rewards: r' of each event, shape [B, F].
        weights: what each event's vector is multiplied by, shape [B, F]; None for nothing.
    """

    items: Tensor
    places: Tensor
    rewards: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.places)

    def first(self, count: int) -> Self:
        """Return the first ``count`` of them, or all where there are fewer."""
        weights = None if self.weights is None else self.weights[:count]
        return replace(self, places=self.places[:count], rewards=self.rewards[:count], weights=weights)

    def weighted(self, weights: Tensor) -> Self:
        """Return them with each event's vector multiplied by a number, shape [B, F]; its rating stays."""
        return replace(self, weights=weights)

    @property
    def is_repetitive(self) -> bool:
        """Whether looking products up takes less time than computing them; a GPU would wait for what says so."""
        return self.items.is_cpu and len(self.items) <= _PAYING_SHARE * len(self)

    @cached_property
    def flat(self) -> Tensor:
        """The states as numbers side by side, [x_1 .. x_F | r'], shape [B, F (D + 1)]."""
        vectors = self.items[self.places]
        if self.weights is not None:
            vectors = vectors * self.weights[:, :, None]
        return torch.cat((vectors.flatten(1), self.rewards), dim=1)

    def times(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Return bias + W s of each state s, shape [B, H]; gradients reach weight [H, F (D + 1)] and bias [H]."""
        if not self.is_repetitive:
            return functional.linear(self.flat, weight, bias)
        frame_size, dim = self.places.shape[1], self.items.shape[1]
        split = frame_size * dim
        of_events = weight[:, :split].reshape(-1, frame_size, dim).transpose(0, 1).flatten(0, 1)
        products = (self.items @ of_events.T).view(-1, len(weight))
        rows = self.places * frame_size + torch.arange(frame_size)
        of_items = functional.embedding_bag(rows, products, mode="sum", per_sample_weights=self.weights)
        return torch.addmm(of_items + bias, self.rewards, weight[:, split:].T)
