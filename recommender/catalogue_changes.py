"""A catalogue of which a few items changed, made from the one before instead of from all entries."""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import Integers
from recommender.catalogue import (
    Catalogue,
    CatalogueEntry,
    Columns,
    LabelledModel,
    VectorsOf,
    assemble,
    embed,
    place_of,
)
from recommender.hashing import hash_ids

_Scalar = TypeVar("_Scalar", bound=np.generic)

Piece = tuple[int, int, int]
"""Rows [start, end) of the catalogue before, and how many changed items stand in front of them."""


def change_catalogue(
    before: Catalogue,
    changed: Sequence[CatalogueEntry],
    vectors_of: VectorsOf | None = None,
    models: Mapping[str, LabelledModel] = MappingProxyType({}),
) -> Catalogue:
    """Return what :func:`~recommender.catalogue.build_catalogue` would of all entries.

    Args:
        before: the catalogue, with vectors by ``vectors_of``.
        changed: the entries that are new or not as they were, one for each item.
        vectors_of: gives the vectors of items at once; None for no embeddings.
        models: the policies' models, by name of the policy; these are aligned anew.

    Raises:
        CatalogueError: two ids share a hash, or one id comes twice.
        ValueError: the vectors of what changed cannot be used, or a model has other rows.
    """
    entries = sorted(changed, key=place_of)
    items = tuple(entry.item for entry in entries)
    item_ids = tuple(item.item_id for item in items)
    vectors, has_vector = embed(items, vectors_of)
    new = Columns(
        items,
        item_ids,
        hash_ids(item_ids),
        np.array([entry.offset for entry in entries], dtype=np.int64),
        np.array([entry.listed for entry in entries], dtype=np.bool_),
        vectors,
        has_vector,
    )
    gone = before.rows_of(item_ids)
    gone = np.sort(gone[gone >= 0])
    pieces = _pieces(before, gone, entries)
    old_rows, new_rows = _rows(pieces, before.size, len(entries))
    kept = old_rows[before.sorted_rows] >= 0
    order = np.argsort(new.hashes)
    hashes = before.sorted_hashes[kept]
    places = np.searchsorted(hashes, new.hashes[order])
    catalogue = assemble(
        Columns(
            tuple(chain.from_iterable(_splice(before.items, new.items, pieces))),
            tuple(chain.from_iterable(_splice(before.item_ids, new.item_ids, pieces))),
            _join(before.hashes, new.hashes, pieces),
            _join(before.offsets, new.offsets, pieces),
            _join(before.listed, new.listed, pieces),
            _join(before.vectors, new.vectors, pieces),
            _join(before.has_vector, new.has_vector, pieces),
        ),
        np.insert(hashes, places, new.hashes[order]),
        np.insert(old_rows[before.sorted_rows[kept]], places, new_rows[order]),
        (before.embedding_id, before.embedding_label),
        models,
    )
    start, end, waiting = pieces[0]
    catalogue.take_over(before, 0 if waiting or start else end)
    return catalogue


def _pieces(before: Catalogue, gone: Integers, entries: Sequence[CatalogueEntry]) -> list[Piece]:
    """Return the catalogue before in pieces, between which changed items stand and gone rows stood."""
    cuts = sorted([(_row_of(before, entry), 1) for entry in entries] + [(row, 0) for row in gone.tolist()])
    pieces, start, waiting = [], 0, 0
    for row, is_new in cuts:
        if row > start:
            pieces.append((start, row, waiting))
            start, waiting = row, 0
        if is_new:
            waiting += 1
        else:
            pieces.append((start, start, waiting))
            start, waiting = row + 1, 0
    return [*pieces, (start, before.size, waiting)]


def _row_of(before: Catalogue, entry: CatalogueEntry) -> int:
    """Return the row in front of which an entry stands."""
    row = int(np.searchsorted(before.offsets, entry.offset))
    while row < before.size and (int(before.offsets[row]), before.item_ids[row]) < place_of(entry):
        row += 1
    return row


def _rows(pieces: Sequence[Piece], size: int, changed: int) -> tuple[Integers, Integers]:
    """Return the row that each old and each changed item has now, -1 for an old one that is gone."""
    old, new = np.full(size, -1, dtype=np.int64), np.zeros(changed, dtype=np.int64)
    row = taken = 0
    for start, end, waiting in pieces:
        new[taken : taken + waiting] = np.arange(row, row + waiting)
        row, taken = row + waiting, taken + waiting
        old[start:end] = np.arange(row, row + end - start)
        row += end - start
    return old, new


def _splice(old: Any, new: Any, pieces: Sequence[Piece]) -> list[Any]:
    parts, taken = [], 0
    for start, end, waiting in pieces:
        parts += [new[taken : taken + waiting], old[start:end]]
        taken += waiting
    return parts


def _join(old: NDArray[_Scalar], new: NDArray[_Scalar], pieces: Sequence[Piece]) -> NDArray[_Scalar]:
    return np.concatenate(_splice(old, new, pieces))
