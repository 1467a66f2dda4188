"""The weights of an actor that was trained elsewhere, or released here, made a network that ranks."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.embeddings.layers import Layer
from recommender.rl.network import Network, build_network
from recommender.rl.state import state_size
from schemas.errors import DataError, ModelError
from services.lab.tensor_files import read_tensors

LAYOUTS = {"linear{}": 1, "actor.{}": 0}
"""How the layers are named, and the number of the first."""
_EXPECTED = (
    "an actor must have linear1.weight, linear1.bias and so on, as RecNN names them, or actor.0.weight, actor.0.bias "
    "and so on, as a release here does; with 10 ratings of items of 128 numbers: linear1 [256, 1290], "
    "linear2 [256, 256], linear3 [128, 256]"
)
_NAME = re.compile(r"(linear|actor\.)(\d+)\.(weight|bias)")


def read_actor(path: Path, dim: int) -> tuple[Network, int]:
    """Return an actor and its frame size F, how many ratings its state holds.

    Each layer gives y = weight x + bias, with ReLU between; dropout and whatever else was there in training is not run.

    Args:
        path: a ``.safetensors`` file, or a state dict that ``torch.save`` wrote.
        dim: D, the size of the items' vectors, which must be the actor's outputs.

    Raises:
        DataError: the file cannot be read, or holds no such actor; the message says what is expected.
        ConfigurationError: a file of torch is given and torch is not installed.
    """
    tensors = read_tensors(path)
    if "encoder.0.weight" in tensors:
        raise DataError(f"{path}: the actor reads its state by an LSTM, which cannot be run here: {_EXPECTED}")
    layers = _find_layers(tensors, path)
    shape = np.shape(layers[0].weight)
    inputs = shape[1] if len(shape) > 1 else 0
    frame_size, rest = divmod(inputs, dim + 1)
    if rest or not frame_size:
        raise DataError(
            f"{path}: the actor's first layer must take F ({dim} + 1) numbers, of F ratings of items with vectors of "
            f"{dim}, got {inputs}; do weights and embeddings belong together?"
        )
    try:
        return build_network(layers, state_size(frame_size, dim), dim, "actor"), frame_size
    except ModelError as error:
        raise DataError(f"{path}: {error}; layers follow one another, and the last gives {dim} numbers") from error


def _find_layers(tensors: Mapping[str, NDArray[Any]], path: Path) -> list[Layer]:
    """Return the layers, first to last.

    Raises:
        DataError: there are none, one is missing or incomplete, or a tensor has no numbers.
    """
    names = {name for name in tensors if _NAME.fullmatch(name)}
    for layout, first in LAYOUTS.items():
        layers: list[Layer] = []
        while (weight := f"{layout.format(first + len(layers))}.weight") in tensors:
            bias = f"{weight.removesuffix('.weight')}.bias"
            if bias not in tensors:
                raise DataError(f"{path} has {weight} and no {bias}: {_EXPECTED}")
            for name in (weight, bias):
                if tensors[name].dtype.kind != "f":
                    raise DataError(f"{path}: {name} must be of floating point, got {tensors[name].dtype}")
            names -= {weight, bias}
            layers.append(Layer(tensors[weight], tensors[bias]))
        if layers and not names:
            return layers
        if layers:
            raise DataError(f"{path} has {', '.join(sorted(names))} beside {len(layers)} layers in a row: {_EXPECTED}")
    raise DataError(f"{path} has no actor, only {', '.join(sorted(tensors)) or 'nothing'}: {_EXPECTED}")
