import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.catalogue import CatalogueEntry, build_catalogue
from recommender.hashing import hash_id
from recommender.ledger import ENTRY
from recommender.profile import Rated, build_profile, build_profiles, update_mean
from schemas.events import Item


@pytest.fixture(scope="module")
def catalogue():
    """i0 (1, 0), i1 (0, 2), i2 without a vector."""
    entries = [CatalogueEntry(Item(item_id=f"i{row}"), row, listed=row != 1) for row in range(3)]
    vectors, flags = np.array([[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]), np.array([True, True, False])
    return build_catalogue(entries, lambda _: (vectors, flags), b"12345678", "test@1")


def entries_of(*rows):
    entries = np.array([(hash_id(item_id), count, last_t, total) for item_id, count, last_t, total in rows], ENTRY)
    return np.sort(entries, order="item")


ENTRIES = entries_of(("i0", 2, 3, 90_000), ("i1", 1, 1, 20_000), ("i2", 1, 0, 30_000), ("elsewhere", 1, 2, 50_000))


def test_theta_is_recomputed_from_the_entries_when_no_mean_is_given(catalogue):
    # t = 5: (9 (1, 0) + 2 (0, 2))/5; an item without a vector and one outside the catalogue add nothing.
    assert build_profile("u", 5, None, ENTRIES, catalogue).theta.tolist() == [1.8, 0.8]


def test_given_mean_is_theta(catalogue):
    assert build_profile("u", 5, np.array([0.1, 0.2]), ENTRIES, catalogue).theta.tolist() == [0.1, 0.2]


def test_rated_items_are_catalogue_rows_withdrawn_ones_included(catalogue):
    profile = build_profile("u", 5, None, ENTRIES, catalogue)
    columns = zip(*(c.tolist() for c in (profile.rows, profile.counts, profile.last_t, profile.sums)), strict=True)
    assert sorted(columns) == [(0, 2, 3, 90_000), (1, 1, 1, 20_000), (2, 1, 0, 30_000)]
    assert profile.t == 5


def test_users_read_together_are_those_read_alone(catalogue):
    users = [
        Rated("a", 5, None, ENTRIES),
        Rated("b", 0, np.zeros(2), entries_of()),
        Rated("c", 9, np.array([0.1, 0.2]), entries_of(("elsewhere", 1, 2, 50_000))),
        Rated("d", 9, np.array([0.3, 0.2]), entries_of(("i1", 3, 8, 60_000))),
    ]
    for user, profile in zip(users, build_profiles(users, catalogue), strict=True):
        alone = build_profile(user.user_id, user.t, user.mean, user.entries, catalogue)
        assert (profile.user_id, profile.t) == (alone.user_id, alone.t)
        for name in ("theta", "rows", "counts", "last_t", "sums"):
            assert getattr(profile, name).tobytes() == getattr(alone, name).tobytes()
            assert not getattr(profile, name).flags.writeable


def test_new_user_has_a_zero_theta_and_no_items(catalogue):
    profile = build_profile("u", 0, None, entries_of(), catalogue)
    assert profile.theta.tolist() == [0.0, 0.0]
    assert profile.rows.tolist() == []
    assert profile.places_of(np.arange(3), 3).tolist() == [-1, -1, -1]


def test_mean_of_another_embedding_size_is_refused(catalogue):
    with pytest.raises(ValueError, match=r"mean must have shape \[2\], got \(3,\)"):
        build_profile("u", 5, np.zeros(3), ENTRIES, catalogue)


@given(data=st.data())
def test_places_are_found_among_few_and_many_rows_alike(data):
    catalogue = build_catalogue([CatalogueEntry(Item(item_id=f"i{row}"), row) for row in range(40)])
    seen = data.draw(st.lists(st.integers(0, 39), unique=True))
    profile = build_profile("u", len(seen), None, entries_of(*((f"i{row}", 1, 0, 0) for row in seen)), catalogue)
    asked = data.draw(st.lists(st.integers(0, 39), unique=True))
    rows = profile.rows.tolist()
    expected = [rows.index(row) if row in rows else -1 for row in asked]
    assert profile.places_of(np.array(asked, dtype=np.int64), 40).tolist() == expected


@given(samples=st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_iterative_mean_is_the_mean(samples):
    mean = np.zeros(1)
    for n, x in enumerate(samples):
        mean = update_mean(mean, n, np.array([x]))
    np.testing.assert_allclose(mean, np.mean(samples), rtol=1e-9, atol=1e-9)


def test_update_refuses_negative_counts_and_other_shapes():
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        update_mean(np.zeros(1), -1, np.zeros(1))
    with pytest.raises(ValueError, match="must have the same shape"):
        update_mean(np.zeros(1), 0, np.zeros(2))
