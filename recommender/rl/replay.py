"""A replay buffer: the newest transitions up to a fixed number, from which batches are drawn evenly.

Users come in one at a time, all their frames together; a batch drawn from the ring mixes many of them, which one made
of a few users does not.

Source: Lin 1992, doi:10.1007/BF00992699; Mnih et al., arXiv:1312.5602.
"""

from typing import Any

import numpy as np
import torch

from recommender.arrays import Integers


class ReplayBuffer:
    """A ring of transitions, kept as the places of their frames.

    >>> ring = ReplayBuffer(3)
    >>> ring.add(np.array([5, 6]))
    >>> ring.add(np.array([7, 8]))
    >>> sorted(ring.held.tolist())
    [6, 7, 8]
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"the capacity of a replay buffer must be at least 1, got {capacity}")
        self._places = np.zeros(capacity, dtype=np.int64)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, len(self._places))

    @property
    def held(self) -> Integers:
        """The places of what is in the ring, in no order."""
        return self._places[: len(self)]

    def add(self, places: Integers) -> None:
        """Put transitions in, the oldest making room."""
        capacity = len(self._places)
        kept = places[-capacity:]
        skipped = self._added + len(places) - len(kept)
        self._places[(skipped + np.arange(len(kept))) % capacity] = kept
        self._added += len(places)

    def sample(self, rows: int, generator: np.random.Generator) -> Integers:
        """Return at most ``rows`` different transitions, each as likely as any other, shape [B]."""
        return generator.choice(self.held, min(rows, len(self)), replace=False)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"places": torch.from_numpy(self._places.copy()), "added": self._added}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` said."""
        self._places[:] = state["places"].numpy()
        self._added = state["added"]
