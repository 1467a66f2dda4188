"""Networks of affine layers with ReLU between, run without torch: the same bits for a row in any batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.arrays import Floats, read_only
from recommender.embeddings.layers import Layer
from recommender.tensors import Tensors, check_finite, read_numbers
from recommender.topk.selection import compiled
from schemas.errors import ModelError

_MATRIX_DIMENSIONS = 2


@compiled
def _add(x: np.ndarray, weight: np.ndarray, y: np.ndarray) -> None:
    """Add weight' x of each row to y, input by input in order."""
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            value = x[row, column]
            for output in range(y.shape[1]):
                y[row, output] += value * weight[column, output]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Layers made ready to be run in float64; dropout and other things of training have no place here.

    Attributes:
        layers: as released, first to last.
        weights: of each layer, shape [inputs, outputs], float64.
        biases: of each layer, shape [outputs], float64.
    """

    layers: tuple[Layer, ...]
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    @property
    def inputs(self) -> int:
        """The length of what it takes."""
        return len(self.weights[0])

    @property
    def outputs(self) -> int:
        """The length of what it gives."""
        return len(self.biases[-1])

    def run(self, x: Floats) -> Floats:
        """Return the outputs of rows, shape [B, outputs].

        Args:
            x: shape [B, inputs], float64.

        Raises:
            ValueError: the shape does not fit.
        """
        if x.ndim != _MATRIX_DIMENSIONS or x.shape[1] != self.inputs:
            raise ValueError(f"x must have shape [B, {self.inputs}], got {x.shape}")
        return self.run_after(np.zeros(0), x)

    def run_after(self, first: Floats, rest: Floats) -> Floats:
        """Return the outputs of rows that all begin alike, bit for bit those of :meth:`run`, shape [B, outputs].

        Args:
            first: what every row begins with, shape [S], float64.
            rest: the rest of each row, shape [B, inputs - S], float64.

        Raises:
            ValueError: the shapes do not fit.
        """
        if rest.ndim != _MATRIX_DIMENSIONS or len(first) + rest.shape[1] != self.inputs:
            raise ValueError(f"rows must have {self.inputs} numbers, got {first.shape} and {rest.shape}")
        begun = self.biases[0][np.newaxis].copy()
        _add(np.ascontiguousarray(first[np.newaxis], dtype=np.float64), self.weights[0][: len(first)], begun)
        rows = np.repeat(begun, len(rest), axis=0)
        _add(np.ascontiguousarray(rest, dtype=np.float64), self.weights[0][len(first) :], rows)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            given, rows = np.maximum(rows, 0.0), np.repeat(bias[np.newaxis], len(rest), axis=0)
            _add(given, weight, rows)
        return rows

    def to_tensors(self, prefix: str) -> dict[str, Any]:
        """Return the layers as ``<prefix>.<i>.weight`` and ``.bias``, float32."""
        tensors = {}
        for number, layer in enumerate(self.layers):
            tensors[f"{prefix}.{number}.weight"] = np.array(layer.weight, dtype=np.float32, order="C")
            tensors[f"{prefix}.{number}.bias"] = np.array(layer.bias, dtype=np.float32, order="C")
        return tensors


def build_network(layers: Sequence[Layer], inputs: int, outputs: int, name: str) -> Network:
    """Return the network of checked layers.

    Args:
        layers: first to last; kept in float32.
        inputs: what the first must take.
        outputs: what the last must give.
        name: of the network, for messages.

    Raises:
        ModelError: there is no layer, the shapes do not fit, or a number is not finite.
    """
    if not layers:
        raise ModelError(f"{name} needs at least 1 layer, got 0")
    kept = []
    given = inputs
    for number, layer in enumerate(layers):
        with np.errstate(over="ignore"):
            weight, bias = (np.array(each, dtype=np.float32, order="C") for each in (layer.weight, layer.bias))
        own = outputs if number == len(layers) - 1 else len(bias)
        if weight.shape != (own, given) or bias.shape != (own,):
            raise ModelError(
                f"{name}.{number} must have a weight of shape [{own}, {given}] and a bias of shape [{own}], "
                f"got {list(weight.shape)} and {list(bias.shape)}"
            )
        check_finite(weight, f"{name}.{number}.weight")
        check_finite(bias, f"{name}.{number}.bias")
        kept.append(Layer(read_only(weight), read_only(bias)))
        given = own
    weights = tuple(read_only(np.ascontiguousarray(layer.weight.T, dtype=np.float64)) for layer in kept)
    biases = tuple(read_only(layer.bias.astype(np.float64)) for layer in kept)
    return Network(tuple(kept), weights, biases)


def read_layers(tensors: Tensors, prefix: str, count: int) -> tuple[Layer, ...]:
    """Return what :meth:`Network.to_tensors` wrote.

    Raises:
        ModelError: a tensor is missing or of another kind.
    """
    return tuple(
        Layer(read_numbers(tensors, f"{prefix}.{i}.weight", 2), read_numbers(tensors, f"{prefix}.{i}.bias", 1))
        for i in range(count)
    )
