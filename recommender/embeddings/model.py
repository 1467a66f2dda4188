"""The item vectors that worker and scorer use, and the encoder that gives new items theirs, without torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer, encode_features
from recommender.embeddings.training import TrainedEncoder
from schemas.errors import ModelError
from schemas.events import Item

FORMAT = 1
METADATA_KEY = "streamrec_embedding"


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
        _check_finite(vectors, "vectors")
        vectors.setflags(write=False)
        rows = {item_id: row for row, item_id in enumerate(self.item_ids)}
        if len(rows) != len(self.item_ids):
            raise ModelError(f"item ids must be distinct, got {len(self.item_ids)} of which {len(rows)} differ")
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "_rows", rows)

    @property
    def dim(self) -> int:
        """The size of a vector, D."""
        return int(self.vectors.shape[1])

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
        ids = json.dumps(self.item_ids, ensure_ascii=False, separators=(",", ":")).encode()
        tensors: dict[str, NDArray[Any]] = {
            "vectors": self.vectors.astype(np.float32),
            "item_ids": np.frombuffer(ids, dtype=np.uint8).copy(),
        }
        for i, layer in enumerate(self.layers):
            tensors[f"encoder.{i}.weight"] = np.ascontiguousarray(layer.weight, dtype=np.float32)
            tensors[f"encoder.{i}.bias"] = np.ascontiguousarray(layer.bias, dtype=np.float32)
        about = {"format": FORMAT, "kind": self.kind, "layers": len(self.layers), "features": self.features.to_state()}
        return tensors, {METADATA_KEY: json.dumps(about, sort_keys=True)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> "EmbeddingModel":
        """Return the model that :meth:`to_tensors` described.

        Raises:
            ModelError: something is missing, of another kind, or does not fit the rest.
        """
        about = _read_metadata(metadata)
        layers = tuple(
            Layer(_read_numbers(tensors, f"encoder.{i}.weight", 2), _read_numbers(tensors, f"encoder.{i}.bias", 1))
            for i in range(about["layers"])
        )
        try:
            features = FeatureEncoder.from_state(about["features"])
        except ValueError as error:
            raise ModelError(f"the release's features cannot be read: {error}") from error
        vectors = _read_numbers(tensors, "vectors", 2).astype(np.float64)
        return cls(about["kind"], _read_item_ids(tensors), vectors, features, layers)


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
        _check_finite(layer.weight, f"encoder.{i}.weight")
        _check_finite(layer.bias, f"encoder.{i}.bias")
        inputs = outputs


def _check_finite(numbers: NDArray[Any], name: str) -> None:
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        place = tuple(bad[0].tolist())
        raise ModelError(f"{name} must be finite, got {len(bad)} that are not, the first {numbers[place]} at {place}")


def _read_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        about = json.loads(metadata[METADATA_KEY])
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"no embedding model: its metadata has no readable {METADATA_KEY}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        got = about.get("format") if isinstance(about, dict) else about
        raise ModelError(f"the embedding format must be {FORMAT}, got {got!r}")
    for name, kind in (("kind", str), ("layers", int), ("features", dict)):
        if not isinstance(about.get(name), kind):
            raise ModelError(f"the embedding's {name} must be of type {kind.__name__}, got {about.get(name)!r}")
    return about


def _read_numbers(tensors: Mapping[str, NDArray[Any]], name: str, ndim: int) -> NDArray[np.float32]:
    array = tensors.get(name)
    if array is None:
        raise ModelError(f"the release has no tensor {name!r}; it has {sorted(tensors)}")
    if array.dtype != np.float32 or array.ndim != ndim:
        raise ModelError(f"{name} must be float32 of {ndim} dimensions, got {array.dtype} of {array.ndim}")
    return array


def _read_item_ids(tensors: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    array = tensors.get("item_ids")
    if array is None or array.dtype != np.uint8:
        raise ModelError("the release has no tensor 'item_ids' of bytes")
    try:
        item_ids = json.loads(array.tobytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the release's item_ids are no JSON: {error}") from error
    if not isinstance(item_ids, list) or not all(isinstance(item_id, str) for item_id in item_ids):
        raise ModelError("the release's item_ids must be a list of strings")
    return tuple(item_ids)
