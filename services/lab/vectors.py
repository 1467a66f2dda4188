"""Item vectors for an off-line experiment: out of a file, or trained on the items."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recommender.arrays import Flags, Floats
from recommender.catalogue import VectorsOf
from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.model import EmbeddingModel, build_model
from recommender.embeddings.pca import train_pca
from recommender.embeddings.training import MIN_ITEMS, AutoencoderSettings, EmbeddingKind, PcaSettings
from recommender.tensors import read_numbers, read_strings
from schemas.errors import ConfigurationError, DataError, ModelError
from schemas.events import Item
from services.lab.tensor_files import SUFFIXES, read_tensors


def read_vectors(path: Path) -> VectorsOf:
    """Return the vectors of a file of your own.

    They are rounded to float32, in which releases keep vectors, so that a scorer computes with the same ones.

        .parquet                    columns item_id, x0, x1, ...
        .npz                        arrays item_ids (strings) and vectors [N, D]
        .safetensors, .pt, .pth     a dictionary of tensors: one of [D] by item id; or a release's model.safetensors

    Nothing that a file could have run is run: strings in npz must not be pickled, and of ``.pt`` only tensors are read.

    Raises:
        DataError: the file cannot be read, lacks a part, names an item twice, or a number is not finite.
        ConfigurationError: a ``.pt`` file is given and torch is not installed.
    """
    item_ids, vectors = read_named_vectors(path)
    places = {item_id: place for place, item_id in enumerate(item_ids)}

    def vectors_of(items: Sequence[Item]) -> tuple[Floats, Flags]:
        found = np.array([places.get(item.item_id, -1) for item in items], dtype=np.int64)
        return np.where(found[:, np.newaxis] >= 0, vectors[found], 0.0), found >= 0

    return vectors_of


def read_named_vectors(path: Path) -> tuple[list[str], Floats]:
    """Return the item ids of a file of vectors, N of them, and the vectors, shape [N, D]; see :func:`read_vectors`.

    Raises:
        DataError: as there.
        ConfigurationError: as there.
    """
    readers = {".npz": _read_npz, **dict.fromkeys(SUFFIXES, _read_tensors)}
    item_ids, given = readers.get(path.suffix.lower(), _read_parquet)(path)
    if len(distinct := set(item_ids)) < len(item_ids):
        raise DataError(f"{path} must name each item once, got {len(item_ids)} rows of {len(distinct)} items")
    with np.errstate(over="ignore"):
        vectors = given.astype(np.float32).astype(np.float64)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"{path}: vectors must be finite, got {vectors[row]} for item {item_ids[row]!r}")
    return item_ids, vectors


def _read_parquet(path: Path) -> tuple[list[str], NDArray[Any]]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: {error}") from error
    dim = 0
    while f"x{dim}" in table.column_names:
        dim += 1
    if dim == 0 or "item_id" not in table.column_names:
        raise DataError(f"{path} must have the columns item_id, x0, x1, ..., got {', '.join(table.column_names)}")
    try:
        columns = [table[f"x{d}"].to_numpy().astype(np.float32) for d in range(dim)]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: a coordinate must be a number: {error}") from error
    return [str(item_id) for item_id in table["item_id"].to_pylist()], np.stack(columns, axis=1)


def _read_npz(path: Path) -> tuple[list[str], NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            named = {name: arrays[name] for name in ("item_ids", "vectors") if name in arrays}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: {error}") from error
    if len(named) < 2:  # noqa: PLR2004 - both
        raise DataError(f"{path} must have the arrays item_ids and vectors, got {', '.join(named) or 'neither'}")
    item_ids, vectors = named["item_ids"], named["vectors"]
    if item_ids.ndim != 1 or item_ids.dtype.kind not in "UiuS":
        raise DataError(f"{path}: item_ids must be strings or integers of shape [N], got {item_ids.dtype}")
    if vectors.ndim != 2 or len(vectors) != len(item_ids) or vectors.dtype.kind not in "fiu":  # noqa: PLR2004
        raise DataError(f"{path}: vectors must be numbers of shape [{len(item_ids)}, D], got {vectors.shape}")
    texts = item_ids.astype(str) if item_ids.dtype.kind != "S" else np.char.decode(item_ids, "utf-8")
    return [str(text) for text in texts.tolist()], vectors


def _read_tensors(path: Path) -> tuple[list[str], NDArray[Any]]:
    tensors = read_tensors(path)
    if not {"item_ids", "vectors"} <= set(tensors):
        return _stack(tensors, path)
    try:
        item_ids, vectors = read_strings(tensors, "item_ids"), read_numbers(tensors, "vectors", 2)
    except ModelError as error:
        raise DataError(f"{path}: {error}") from error
    if len(item_ids) != len(vectors):
        raise DataError(f"{path} must have a vector for each of {len(item_ids)} items, got {len(vectors)}")
    return list(item_ids), vectors


def _stack(tensors: Mapping[str, NDArray[Any]], path: Path) -> tuple[list[str], NDArray[Any]]:
    shapes = {tensor.shape for tensor in tensors.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise DataError(f"{path} must have a tensor of shape [D] for each item, all of one D, got {sorted(shapes)}")
    return list(tensors), np.stack(list(tensors.values()))


def train_vectors(kind: EmbeddingKind, items: Sequence[Item], seed: int) -> EmbeddingModel:
    """Return a model of the items' genres and years.

    Args:
        kind: what learns it.
        items: those without genre and year take no part.
        seed: of every random number in the training.

    Raises:
        DataError: fewer than two items have a genre or a year.
        ConfigurationError: the autoencoder is asked for and torch is not installed.
    """
    described = [item for item in items if item.genres or item.year is not None]
    if len(described) < MIN_ITEMS:
        raise DataError(
            f"training needs at least {MIN_ITEMS} items with a genre or a year, got {len(described)} of {len(items)}"
        )
    features = FeatureEncoder.fit(described)
    matrix = features.encode(described)
    if kind == "pca":
        return build_model(described, features, train_pca(matrix, PcaSettings(seed=seed)))
    try:
        from recommender.embeddings.autoencoder import train_autoencoder  # noqa: PLC0415 - torch only when asked for
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"training an autoencoder needs {error.name}: install streamrec[trainer], or take --embeddings pca"
        ) from error
    return build_model(described, features, train_autoencoder(matrix, AutoencoderSettings(seed=seed)))
