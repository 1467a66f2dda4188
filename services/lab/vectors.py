"""Item vectors for an off-line experiment: out of a file, or trained on the items."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recommender.arrays import Flags, Floats
from recommender.catalogue import VectorsOf
from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.model import EmbeddingModel, build_model
from recommender.embeddings.pca import train_pca
from recommender.embeddings.training import MIN_ITEMS, AutoencoderSettings, EmbeddingKind, PcaSettings
from schemas.errors import ConfigurationError, DataError
from schemas.events import Item


def read_vectors(path: Path) -> VectorsOf:
    """Return the vectors of a parquet file with the columns item_id, x0, x1, ...

    They are rounded to float32, in which releases keep vectors, so that a scorer computes with the same ones.

    Raises:
        DataError: the file cannot be read, lacks a column, names an item twice, or a number is not finite.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: {error}") from error
    dim = 0
    while f"x{dim}" in table.column_names:
        dim += 1
    if dim == 0 or "item_id" not in table.column_names:
        raise DataError(f"{path} must have the columns item_id, x0, x1, ..., got {', '.join(table.column_names)}")
    item_ids = [str(item_id) for item_id in table["item_id"].to_pylist()]
    places = {item_id: place for place, item_id in enumerate(item_ids)}
    if len(places) < len(item_ids):
        raise DataError(f"{path} must name each item once, got {len(item_ids)} rows of {len(places)} items")
    try:
        columns = [table[f"x{d}"].to_numpy().astype(np.float32) for d in range(dim)]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: a coordinate must be a number: {error}") from error
    vectors = np.stack(columns, axis=1).astype(np.float64)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"{path}: vectors must be finite, got {vectors[row]} for item {item_ids[row]!r}")

    def vectors_of(items: Sequence[Item]) -> tuple[Floats, Flags]:
        found = np.array([places.get(item.item_id, -1) for item in items], dtype=np.int64)
        return np.where(found[:, np.newaxis] >= 0, vectors[found], 0.0), found >= 0

    return vectors_of


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
