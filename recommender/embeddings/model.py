"""The item vectors that worker and scorer use, and the encoder that gives new items theirs, without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer, encode_features
from recommender.embeddings.training import TrainedEncoder
from recommender.tensors import (
    check_finite,
    read_about,
    read_numbers,
    read_strings,
    rows_by_id,
    write_about,
    write_strings,
)
from schemas.errors import ModelError
from schemas.events import Item

FORMAT = 1
METADATA_KEY = "streamrec_embedding"
_ABOUT = {"kind": str, "layers": int, "features": dict}


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingModel:
    """Item vectors and their encoder, checked once, here.

    Attributes:
        kind: what learned the encoder, ``autoencoder`` or ``pca``.
        item_ids: the items the model keeps vectors of, N of them, distinct.
        vectors: shape [N, D], float64 rounded to float32 (a release loses nothing), read-only; from training each is
            of length one, or zero where the code was.
        features: the columns the encoder takes.
        layers: the encoder, F to D.

    Raises:
        ModelError: shapes do not fit one another, or a number is not finite.
    """

    kind: str
    item_ids: tuple[str, ...]
    vectors: NDArray[np.float64]
    features: FeatureEncoder
    layers: tuple[Layer, ...]
    _rows: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_layers(self.layers, self.features.size)
        shape = (len(self.item_ids), len(self.layers[-1].bias))
        if self.vectors.shape != shape:
            raise ModelError(f"vectors must have shape {shape}, as item ids and encoder say, got {self.vectors.shape}")
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(self.vectors, dtype=np.float32).astype(np.float64)
        check_finite(vectors, "vectors")
        vectors.setflags(write=False)
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "_rows", rows_by_id(self.item_ids))

    @property
    def dim(self) -> int:
        """The size of a vector, D."""
        return int(self.vectors.shape[1])

    def describe(self) -> dict[str, Any]:
        """Return what a manifest says of the model."""
        return {
            "encoder": self.kind,
            "items": len(self.item_ids),
            "dim": self.dim,
            "features": self.features.size,
            "feature_state": self.features.to_state(),
        }

    def vectors_for(self, items: Sequence[Item]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the vectors of ``items``, shape [n, D], and which of them have one, shape [n].

        An item the model knows keeps the model's vector, whatever is said of it now. Any other is encoded from its
        genres and year, and gets the same bits as a known item with the same ones. An item of which no feature is
        known has no vector: its row is zero and its flag False.
        """
        vectors = np.zeros((len(items), self.dim))
        has_vector = np.zeros(len(items), dtype=np.bool_)
        rows = np.fromiter((self._rows.get(item.item_id, -1) for item in items), dtype=np.int64, count=len(items))
        known = rows >= 0
        vectors[known] = self.vectors[rows[known]]
        has_vector[known] = True
        new = np.flatnonzero(~known)
        if len(new):
            features = self.features.encode([items[row] for row in new.tolist()])
            described = features.any(axis=1)
            vectors[new[described]] = encode_features(self.layers, features[described])
            has_vector[new] = described
        return vectors, has_vector

    def to_tensors(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the model as named arrays (numbers in float32) and metadata of one key, so that its bytes are fixed.

        Arrays: ``vectors`` [N, D], ``item_ids`` (a JSON list's UTF-8 bytes), ``encoder.<i>.weight`` and ``.bias``.
        """
        tensors: dict[str, NDArray[Any]] = {
            "vectors": self.vectors.astype(np.float32),
            "item_ids": write_strings(self.item_ids),
        }
        for i, layer in enumerate(self.layers):
            tensors[f"encoder.{i}.weight"] = np.ascontiguousarray(layer.weight, dtype=np.float32)
            tensors[f"encoder.{i}.bias"] = np.ascontiguousarray(layer.bias, dtype=np.float32)
        about = {"format": FORMAT, "kind": self.kind, "layers": len(self.layers), "features": self.features.to_state()}
        return tensors, write_about(METADATA_KEY, about)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> "EmbeddingModel":
        """Return the model that :meth:`to_tensors` described.

        Raises:
            ModelError: something is missing, of another kind, or does not fit the rest.
        """
        about = read_about(metadata, METADATA_KEY, "embedding", FORMAT, _ABOUT)
        layers = tuple(
            Layer(read_numbers(tensors, f"encoder.{i}.weight", 2), read_numbers(tensors, f"encoder.{i}.bias", 1))
            for i in range(about["layers"])
        )
        try:
            features = FeatureEncoder.from_state(about["features"])
        except ValueError as error:
            raise ModelError(f"the release's features cannot be read: {error}") from error
        vectors = read_numbers(tensors, "vectors", 2).astype(np.float64)
        return cls(about["kind"], read_strings(tensors, "item_ids"), vectors, features, layers)


def build_model(items: Sequence[Item], features: FeatureEncoder, trained: TrainedEncoder) -> EmbeddingModel:
    """Return the model of a trained encoder, with the vectors of those ``items`` that have a feature.

    Raises:
        ModelError: the encoder does not take these features, or an id stands twice.
    """
    _check_layers(trained.layers, features.size)
    encoded = features.encode(items)
    described = np.flatnonzero(encoded.any(axis=1))
    vectors = encode_features(trained.layers, encoded[described])
    item_ids = tuple(items[row].item_id for row in described.tolist())
    return EmbeddingModel(trained.kind, item_ids, vectors.astype(np.float64), features, trained.layers)


def _check_layers(layers: Sequence[Layer], inputs: int) -> None:
    if not layers:
        raise ModelError("an encoder needs at least 1 layer, got 0")
    for i, layer in enumerate(layers):
        outputs = layer.weight.shape[0] if layer.weight.ndim else 0
        if outputs == 0 or layer.weight.shape != (outputs, inputs) or layer.bias.shape != (outputs,):
            raise ModelError(
                f"encoder layer {i} must take {inputs} inputs, "
                f"got a weight of shape {layer.weight.shape} and a bias of shape {layer.bias.shape}"
            )
        check_finite(layer.weight, f"encoder.{i}.weight")
        check_finite(layer.bias, f"encoder.{i}.bias")
        inputs = outputs
