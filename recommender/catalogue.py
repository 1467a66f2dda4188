"""The items as one immutable value: rows, hashes and vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

from recommender.arrays import Flags, Floats, Hashes, Integers, read_only
from recommender.hashing import hash_id, hash_ids
from schemas.errors import CatalogueError
from schemas.events import Item

NO_EMBEDDING = b"\0" * 8
"""The embedding id where there are no embeddings."""

_LARGEST_COORDINATE = 1e100  # scores are finite up to here
_MATRIX_DIMENSIONS = 2

_Derived = TypeVar("_Derived")

VectorsOf = Callable[[Sequence[Item]], tuple[Floats, Flags]]
"""Items to vectors [N, D] and whether each has one [N]."""


class Aligned(Protocol):
    """What a policy computes with: a model on the rows of some items."""

    @property
    def vectors(self) -> Floats:
        """What a user's vector is multiplied with, shape [N, E], float64, C-contiguous, read-only."""
        ...


class Aligns(Protocol):
    """A policy's model, as far as a catalogue knows one."""

    def align(self, items: Sequence[Item]) -> Aligned:
        """Return the model on the rows of ``items``."""
        ...


@runtime_checkable
class Changeable(Protocol):
    """What is made of vectors and can be made of others sooner, of which the first are the same."""

    def changed(self, vectors: Floats, unchanged: int) -> Any:
        """Return what would be made of ``vectors``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LabelledModel:
    """A policy's model and the release it came with.

    Attributes:
        label: ``name@version``.
        model: the model.
    """

    label: str
    model: Aligns


@dataclass(frozen=True, slots=True, eq=False)
class AlignedModel:
    """What a policy's model says of a catalogue's items.

    Attributes:
        label: ``name@version`` of the release.
        value: what the model's ``align`` made of the catalogue's items.
    """

    label: str
    value: Aligned
    _derived: dict[Callable[[Floats], Any], Any] = field(default_factory=dict, init=False, repr=False)

    def derived(self, make: Callable[[Floats], _Derived]) -> _Derived:
        """Return what ``make`` makes of the value's vectors; made once, and kept as long as the catalogue."""
        if make not in self._derived:
            self._derived[make] = make(self.value.vectors)
        return cast("_Derived", self._derived[make])


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One item as the ``items`` topic left it.

    Attributes:
        item: what the topic says of it.
        offset: its place in the catalogue order.
        listed: False once withdrawn; kept, so that histories stay explainable.
    """

    item: Item
    offset: int
    listed: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The items in catalogue order. Made by :func:`build_catalogue`.

    Attributes:
        items: what the topic says of them, N of them.
        item_ids: their ids.
        hashes: xxh64 of the ids, shape [N].
        listed: False where withdrawn, shape [N].
        unlisted: rows of the withdrawn, ascending.
        vectors: embeddings, shape [N, D], C-contiguous; zero where there is none.
        has_vector: shape [N].
        embedding_id: 8 bytes that name the vectors; :data:`NO_EMBEDDING` for none.
        embedding_label: ``name@version``, empty for none.
        largest_coordinate: the largest magnitude in ``vectors``.
        models: the policies' models on these rows, by name of the policy; read-only.
        offsets: places in the catalogue order, shape [N].
        sorted_hashes: ``hashes``, ascending, shape [N].
        sorted_rows: the row of each of them, shape [N].
    """

    items: tuple[Item, ...]
    item_ids: tuple[str, ...]
    hashes: Hashes
    listed: Flags
    unlisted: Integers
    vectors: Floats
    has_vector: Flags
    embedding_id: bytes
    embedding_label: str
    largest_coordinate: float
    models: Mapping[str, AlignedModel]
    offsets: Integers = field(repr=False)
    sorted_hashes: Hashes = field(repr=False)
    sorted_rows: Integers = field(repr=False)
    _derived: dict[Callable[[Floats], Any], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def size(self) -> int:
        """Number of items, N."""
        return len(self.items)

    @property
    def dim(self) -> int:
        """Size of the embeddings, D; 0 for none."""
        return int(self.vectors.shape[1])

    def derived(self, make: Callable[[Floats], _Derived]) -> _Derived:
        """Return what ``make`` makes of the vectors; made once, and kept as long as the catalogue."""
        if make not in self._derived:
            self._derived[make] = make(self.vectors)
        return cast("_Derived", self._derived[make])

    def take_over(self, before: "Catalogue", unchanged: int) -> None:
        """Make what was made of the vectors before anew, sooner where it can be changed.

        Args:
            before: has the same vectors in its first ``unchanged`` rows.
            unchanged: how many.
        """
        for make, made in before._derived.items():  # noqa: SLF001 - of its own class
            if isinstance(made, Changeable):
                self._derived[make] = made.changed(self.vectors, unchanged)

    def rows_of_hashes(self, hashes: Hashes) -> Integers:
        """Return the row of each hash, -1 where it is unknown, shape [S]."""
        if not self.size:
            return np.full(len(hashes), -1, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.sorted_hashes, hashes), self.size - 1)
        return np.where(self.sorted_hashes[places] == hashes, self.sorted_rows[places], -1)

    def rows_of(self, item_ids: Sequence[str]) -> Integers:
        """Return the row of each id, -1 where it is unknown, shape [len(item_ids)]."""
        rows = self.rows_of_hashes(hash_ids(item_ids))
        known = (
            row >= 0 and self.item_ids[row] == item_id for row, item_id in zip(rows.tolist(), item_ids, strict=True)
        )
        return np.where(np.fromiter(known, dtype=np.bool_, count=len(rows)), rows, -1)

    def row_of(self, item_id: str) -> int | None:
        """Return the row of an id, None where it is unknown."""
        row = int(self.rows_of_hashes(np.array([hash_id(item_id)], dtype=np.uint64))[0])
        return row if row >= 0 and self.item_ids[row] == item_id else None


def build_catalogue(
    entries: Sequence[CatalogueEntry],
    vectors_of: VectorsOf | None = None,
    embedding_id: bytes = NO_EMBEDDING,
    label: str = "",
    models: Mapping[str, LabelledModel] = MappingProxyType({}),
) -> Catalogue:
    """Return the catalogue of ``entries``, in order of (offset, item_id).

    Args:
        entries: one for each item, in any order.
        vectors_of: gives the vectors of all items at once; None for no embeddings (D = 0).
        embedding_id: 8 bytes that name the vectors.
        label: ``name@version`` of the vectors' release.
        models: the policies' models, by name of the policy.

    Raises:
        CatalogueError: two ids share a hash, or one id comes twice.
        ValueError: the vectors do not have shape [N, D], are not finite, or beyond any sense; or a model has
            other rows.
    """
    ordered = sorted(entries, key=place_of)
    items = tuple(entry.item for entry in ordered)
    item_ids = tuple(item.item_id for item in items)
    hashes = hash_ids(item_ids)
    sorted_rows = np.argsort(hashes, kind="stable").astype(np.int64)
    vectors, has_vector = embed(items, vectors_of)
    columns = Columns(
        items,
        item_ids,
        hashes,
        np.array([entry.offset for entry in ordered], dtype=np.int64),
        np.array([entry.listed for entry in ordered], dtype=np.bool_),
        vectors,
        has_vector,
    )
    return assemble(columns, hashes[sorted_rows], sorted_rows, (embedding_id, label), models)


def place_of(entry: CatalogueEntry) -> tuple[int, str]:
    """Return what puts entries in order."""
    return entry.offset, entry.item.item_id


class Columns(NamedTuple):
    """What is said of items row by row; see :class:`Catalogue`."""

    items: tuple[Item, ...]
    item_ids: tuple[str, ...]
    hashes: Hashes
    offsets: Integers
    listed: Flags
    vectors: Floats
    has_vector: Flags


def assemble(
    columns: Columns,
    sorted_hashes: Hashes,
    sorted_rows: Integers,
    embedding: tuple[bytes, str],
    models: Mapping[str, LabelledModel],
) -> Catalogue:
    """Return the catalogue of checked columns in catalogue order, which nobody writes to any more.

    Raises:
        CatalogueError: two ids share a hash, or one id comes twice.
        ValueError: a model has other rows.
    """
    items, item_ids, hashes, offsets, listed, vectors, has_vector = columns
    _refuse_collisions(item_ids, sorted_hashes, sorted_rows)
    return Catalogue(
        items=items,
        item_ids=item_ids,
        hashes=read_only(hashes),
        listed=read_only(listed),
        unlisted=read_only(np.flatnonzero(~listed)),
        vectors=read_only(vectors),
        has_vector=read_only(has_vector),
        embedding_id=embedding[0],
        embedding_label=embedding[1],
        largest_coordinate=max(float(vectors.max(initial=0.0)), -float(vectors.min(initial=0.0))),
        models=MappingProxyType({name: _align(each, items) for name, each in models.items()}),
        offsets=read_only(offsets),
        sorted_hashes=read_only(sorted_hashes),
        sorted_rows=read_only(sorted_rows),
    )


def _align(labelled: LabelledModel, items: Sequence[Item]) -> AlignedModel:
    value = labelled.model.align(items)
    if value.vectors.ndim != _MATRIX_DIMENSIONS or len(value.vectors) != len(items):
        raise ValueError(f"{labelled.label} must align to [{len(items)}, E], got {value.vectors.shape}")
    return AlignedModel(labelled.label, value)


def _refuse_collisions(item_ids: Sequence[str], sorted_hashes: Hashes, sorted_rows: Integers) -> None:
    repeats = np.flatnonzero(sorted_hashes[1:] == sorted_hashes[:-1])
    if len(repeats):
        first, second = (item_ids[sorted_rows[place]] for place in (repeats[0], repeats[0] + 1))
        if first == second:
            raise CatalogueError(f"item {second!r} comes twice; a catalogue has one entry for each item")
        raise CatalogueError(f"item {second!r} is refused: its hash {sorted_hashes[repeats[0]]} is that of {first!r}")


def embed(items: Sequence[Item], vectors_of: VectorsOf | None) -> tuple[Floats, Flags]:
    """Return writable, checked copies: vectors of shape [N, D], zero where has_vector is False, and has_vector.

    Raises:
        ValueError: the vectors do not have shape [N, D], are not finite, or beyond any sense.
    """
    if vectors_of is None:
        return np.zeros((len(items), 0)), np.zeros(len(items), dtype=np.bool_)
    given, has_vector = vectors_of(items)
    if given.shape[:-1] != (len(items),) or has_vector.shape != (len(items),):
        raise ValueError(
            f"vectors must have shape [{len(items)}, D] and has_vector [{len(items)}], "
            f"got {given.shape}, {has_vector.shape}"
        )
    vectors = np.array(given, dtype=np.float64, order="C")
    flags = np.array(has_vector, dtype=np.bool_)
    vectors[~flags] = 0.0
    within = np.abs(vectors) <= _LARGEST_COORDINATE
    if not within.all():
        row = int(np.flatnonzero(~within.all(axis=1))[0])
        raise ValueError(
            f"vectors must be within ±{_LARGEST_COORDINATE:g}, got {vectors[row]} for item {items[row].item_id!r}"
        )
    return vectors, flags
