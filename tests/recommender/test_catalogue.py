import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recommender.catalogue as catalogue_module
from recommender.catalogue import NO_EMBEDDING, CatalogueEntry, build_catalogue
from recommender.hashing import hash_id, hash_ids
from schemas.errors import CatalogueError
from schemas.events import Item


def entries_of(*pairs):
    return [CatalogueEntry(Item(item_id=item_id), offset) for item_id, offset in pairs]


def test_items_are_in_order_of_offset_then_id():
    catalogue = build_catalogue(entries_of(("b", 4), ("z", 1), ("a", 4)))
    assert catalogue.item_ids == ("z", "a", "b")
    assert catalogue.hashes.tolist() == [hash_id("z"), hash_id("a"), hash_id("b")]


@given(ids=st.lists(st.text(min_size=1, max_size=8), unique=True), unknown=st.text(min_size=9, max_size=12))
def test_rows_are_found_by_id_and_by_hash(ids, unknown):
    catalogue = build_catalogue([CatalogueEntry(Item(item_id=item_id), 7) for item_id in ids])
    assert catalogue.rows_of_hashes(hash_ids([*catalogue.item_ids, unknown])).tolist() == [*range(len(ids)), -1]
    assert catalogue.rows_of([unknown, *catalogue.item_ids]).tolist() == [-1, *range(len(ids))]
    assert [catalogue.row_of(item_id) for item_id in catalogue.item_ids] == list(range(len(ids)))
    assert catalogue.row_of(unknown) is None


def test_unknown_id_with_the_hash_of_an_item_is_not_that_item(monkeypatch):
    catalogue = build_catalogue(entries_of(("a", 0)))
    monkeypatch.setattr(catalogue_module, "hash_id", lambda _: hash_id("a"))
    monkeypatch.setattr(catalogue_module, "hash_ids", lambda ids: hash_ids("a" for _ in ids))
    assert catalogue.row_of("b") is None
    assert catalogue.rows_of(["b", "a"]).tolist() == [-1, 0]


def test_two_ids_with_one_hash_are_refused_by_name(monkeypatch):
    monkeypatch.setattr(catalogue_module, "hash_ids", lambda ids: np.array([hash_id(i[0]) for i in ids], np.uint64))
    with pytest.raises(CatalogueError, match=r"item 'a2' is refused: its hash \d+ is that of 'a1'"):
        build_catalogue(entries_of(("a1", 0), ("b", 1), ("a2", 2)))


def test_item_that_comes_twice_is_refused():
    with pytest.raises(CatalogueError, match="item 'a' comes twice"):
        build_catalogue(entries_of(("a", 0), ("a", 1)))


def test_items_without_a_vector_have_a_row_of_zeros():
    catalogue = build_catalogue(
        entries_of(("a", 0), ("b", 1)),
        lambda items: (np.array([[1, 2]] * len(items), np.float32), np.array([True, False])),
        b"12345678",
        "content@3",
    )
    assert catalogue.vectors.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert catalogue.vectors.dtype == np.float64
    assert (catalogue.dim, catalogue.largest_coordinate, catalogue.embedding_label) == (2, 2.0, "content@3")


def test_catalogue_without_embeddings_has_dimension_zero():
    catalogue = build_catalogue(entries_of(("a", 0)))
    assert (catalogue.size, catalogue.dim, catalogue.embedding_id) == (1, 0, NO_EMBEDDING)


def test_empty_catalogue_knows_no_item():
    catalogue = build_catalogue([])
    assert catalogue.row_of("a") is None
    assert catalogue.rows_of_hashes(hash_ids(["a"])).tolist() == [-1]


def test_arrays_refuse_writes():
    catalogue = build_catalogue(entries_of(("a", 0)))
    with pytest.raises(ValueError, match="read-only"):
        catalogue.listed[0] = False


@pytest.mark.parametrize("shape", [(1, 2), (2,), (2, 2, 2)])
def test_vectors_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="vectors must have shape"):
        build_catalogue(entries_of(("a", 0), ("b", 1)), lambda _: (np.zeros(shape), np.ones(2, dtype=bool)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_vectors_that_could_make_a_score_infinite_are_refused(value):
    with pytest.raises(ValueError, match="for item 'a'"):
        build_catalogue(entries_of(("a", 0)), lambda _: (np.array([[0.0, value]]), np.ones(1, dtype=bool)))
