import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.catalogue_changes import change_catalogue
from recommender.hashing import hash_id
from recommender.topk.index import ItemIndex
from schemas.errors import CatalogueError
from schemas.events import Item


def vectors_of(items):
    """A vector made of the id; none where the title says so."""
    vectors = np.array([[hash_id(item.item_id) % 1000, len(item.title)] for item in items], dtype=np.float64)
    return vectors.reshape(len(items), 2), np.array([item.title != "none" for item in items], dtype=np.bool_)


@st.composite
def entries(draw, ids):
    """An entry of some of the ids; offsets repeat, as they do between partitions."""
    chosen = draw(st.lists(st.sampled_from(ids), unique=True, max_size=len(ids)))
    return [
        CatalogueEntry(
            Item(item_id=item_id, title=draw(st.sampled_from(["", "a", "none"]))),
            draw(st.integers(0, 6)),
            draw(st.booleans()),
        )
        for item_id in chosen
    ]


IDS = [f"i{number}" for number in range(9)]


@given(before=entries(IDS), changes=st.lists(entries(IDS), max_size=3))
def test_a_changed_catalogue_is_the_one_of_all_entries(before, changes):
    known = {entry.item.item_id: entry for entry in before}
    catalogue = build_catalogue(before, vectors_of, b"12345678", "items@1")
    for changed in changes:
        known |= {entry.item.item_id: entry for entry in changed}
        catalogue = change_catalogue(catalogue, changed, vectors_of)
    assert contents(catalogue) == contents(build_catalogue(list(known.values()), vectors_of, b"12345678", "items@1"))
    assert catalogue.rows_of(IDS).tolist() == [
        catalogue.item_ids.index(item_id) if item_id in known else -1 for item_id in IDS
    ]


def contents(catalogue):
    arrays = ("hashes", "listed", "unlisted", "vectors", "has_vector", "offsets", "sorted_hashes", "sorted_rows")
    assert not any(getattr(catalogue, name).flags.writeable for name in arrays)
    assert catalogue.vectors.flags.c_contiguous
    about = catalogue.items, catalogue.item_ids, catalogue.embedding_id, catalogue.embedding_label
    return about, catalogue.largest_coordinate, [getattr(catalogue, name).tolist() for name in arrays]


def test_an_item_that_comes_twice_is_refused():
    entry = CatalogueEntry(Item(item_id="a"), 0)
    with pytest.raises(CatalogueError, match="item 'a' comes twice"):
        change_catalogue(build_catalogue([]), [entry, entry])


def test_what_was_made_of_the_vectors_is_changed_with_them():
    rng = np.random.default_rng(1)

    def same(items):
        return np.full((len(items), 3), 0.5), np.ones(len(items), dtype=np.bool_)

    entries = [CatalogueEntry(Item(item_id=f"i{number}"), number) for number in range(1_500)]
    before = build_catalogue(entries, lambda items: (rng.normal(size=(len(items), 3)), np.ones(len(items), bool)))
    before.derived(ItemIndex)
    before.derived(np.sum)
    for offset in (0, 700, 2_000):
        new = CatalogueEntry(Item(item_id="new"), offset)
        after = change_catalogue(
            before, [new], lambda items: (np.full((len(items), 3), 0.5), np.ones(len(items), bool))
        )
        index = after.derived(ItemIndex)
        assert index.vectors is after.vectors
        assert (index.packed.codes == ItemIndex(after.vectors).packed.codes).all()
        assert after.derived(np.sum) == pytest.approx(before.derived(np.sum) + 1.5)
