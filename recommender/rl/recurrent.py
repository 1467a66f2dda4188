"""An LSTM over the events of a state, run without torch: the same bits for a state in any batch.

    i, f, g, o = W x_t + b + U h_{t-1} + d,    x_t = [vector | r'] of the t-th event, oldest first
    c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g),   h_t = sigmoid(o) tanh(c_t)

The last h stands for the state, and layers follow. An event that is not there is a vector of zeros and r' = 0.

Source: Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with a gate that forgets; in torch's order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.arrays import Floats
from recommender.embeddings.layers import Layer
from recommender.rl.network import Network, build_network
from recommender.topk.selection import compiled
from schemas.errors import ModelError

GATES = 4


@compiled
def _step(given: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> None:
    """Make a step of hidden and cell [B, H] in place, of what the gates are given, [B, 4 H]."""
    size = cell.shape[1]
    for row in range(cell.shape[0]):
        for unit in range(size):
            take = 1.0 / (1.0 + math.exp(-given[row, unit]))
            keep = 1.0 / (1.0 + math.exp(-given[row, size + unit]))
            show = 1.0 / (1.0 + math.exp(-given[row, 3 * size + unit]))
            cell[row, unit] = keep * cell[row, unit] + take * math.tanh(given[row, 2 * size + unit])
            hidden[row, unit] = show * math.tanh(cell[row, unit])


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentNetwork:
    """An LSTM and the layers after it, taken and given as a :class:`~recommender.rl.network.Network` of whole states.

    Attributes:
        of_events: W and b, shape [4 H, D + 1] and [4 H].
        of_hidden: U and d, shape [4 H, H] and [4 H].
        head: the layers after it.
        frame_size: F.
    """

    of_events: Network
    of_hidden: Network
    head: Network
    frame_size: int

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers after the LSTM, as released, first to last."""
        return self.head.layers

    @property
    def encoder(self) -> tuple[Layer, Layer]:
        """The LSTM, as released."""
        return self.of_events.layers[0], self.of_hidden.layers[0]

    @property
    def inputs(self) -> int:
        """The length of a state, F (D + 1)."""
        return self.frame_size * self.of_events.inputs

    def run(self, x: Floats) -> Floats:
        """Return the outputs of states, shape [B, D].

        Args:
            x: shape [B, F (D + 1)], float64.

        Raises:
            ValueError: the shape does not fit.
        """
        if x.ndim != 2 or x.shape[1] != self.inputs:  # noqa: PLR2004
            raise ValueError(f"x must have shape [B, {self.inputs}], got {x.shape}")
        hidden = np.zeros((len(x), self.of_hidden.inputs))
        cell = hidden.copy()
        for event in events_of(x, self.frame_size):
            _step(self.of_events.run(event) + self.of_hidden.run(hidden), hidden, cell)
        return self.head.run(hidden)

    def to_tensors(self, prefix: str) -> dict[str, Any]:
        """Return the layers as ``<prefix>.<i>.weight`` and ``.bias``, those of the LSTM as ``encoder.<i>``, float32."""
        both = Network(self.encoder, (), ()).to_tensors("encoder")
        return {**self.head.to_tensors(prefix), **both}


def events_of(states: Floats, frame_size: int) -> Sequence[Floats]:
    """Return the events of states side by side, oldest first: F arrays of [x_t | r'_t], shape [B, D + 1].

    >>> [event.tolist() for event in events_of(np.array([[1.0, 2.0, 3.0, 4.0, -4.0, 5.0]]), 2)]
    [[[1.0, 2.0, -4.0]], [[3.0, 4.0, 5.0]]]
    """
    split = states.shape[1] - frame_size
    items = states[:, :split].reshape(len(states), frame_size, -1)
    events = np.concatenate((items, states[:, split:, np.newaxis]), axis=2)
    return [np.ascontiguousarray(events[:, place]) for place in range(frame_size)]


def build_recurrent(
    encoder: tuple[Layer, Layer], layers: Sequence[Layer], frame_size: int, dim: int
) -> RecurrentNetwork:
    """Return the network of checked layers.

    Args:
        encoder: [W, b] and [U, d].
        layers: after it, first to last.
        frame_size: F.
        dim: D.

    Raises:
        ModelError: the shapes do not fit, or a number is not finite.
    """
    gates = len(encoder[1].bias)
    units, rest = divmod(gates, GATES)
    if rest or not units:
        raise ModelError(f"the encoder must have {GATES} gates a unit, got {gates} in all")
    return RecurrentNetwork(
        build_network(encoder[:1], dim + 1, gates, "encoder"),
        build_network(encoder[1:], units, gates, "encoder"),
        build_network(layers, units, dim, "actor"),
        frame_size,
    )
