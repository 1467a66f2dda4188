"""Features to unit codes in numpy: the same bits for the same item, at any row, in any batch, on any machine.

A matrix product may give identical rows different values by position, and differs between libraries. Here each output
accumulates over its inputs in order, with elementwise IEEE operations only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One affine map, y = weight x + bias.

    Attributes:
        weight: shape [outputs, inputs], float32.
        bias: shape [outputs], float32.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the outputs of rows ``x`` of shape [n, inputs], in float64, shape [n, outputs]."""
        weight = self.weight.astype(np.float64)
        y = np.repeat(self.bias.astype(np.float64)[None, :], len(x), axis=0)
        for column in range(weight.shape[1]):
            y += x[:, column, None] * weight[:, column]
        return y


def encode_features(layers: Sequence[Layer], features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the L2-normalised code of each row: affine maps with ReLU between, then z / |z|.

    A code of length zero has no direction and stays the zero vector.

    Args:
        layers: at least one, chained: the inputs of the first are the F features, the outputs of the last the D codes.
        features: shape [N, F].

    Returns:
        Shape [N, D], rounded to float32, the precision in which a release keeps vectors.

    >>> encode_features([Layer(np.float32([[3, 0], [4, 0]]), np.float32([0, 0]))], np.float32([[1, 0], [0, 1]]))
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """
    codes = np.zeros((len(features), len(layers[-1].bias)), dtype=np.float32)
    for start in range(0, len(features), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        codes[rows] = _normalise(_run(layers, features[rows].astype(np.float64)))
    return codes


def _run(layers: Sequence[Layer], x: NDArray[np.float64]) -> NDArray[np.float64]:
    for layer in layers[:-1]:
        x = np.maximum(layer.apply(x), 0.0)
    return layers[-1].apply(x)


def _normalise(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = np.zeros(len(codes))
    for column in range(codes.shape[1]):
        squares += codes[:, column] * codes[:, column]
    norms = np.sqrt(squares)
    return codes / np.where(norms > 0.0, norms, np.inf)[:, None]
