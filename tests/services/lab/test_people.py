import numpy as np
import pytest

from schemas.errors import DataError
from schemas.events import Item, RatingEvent
from services.lab.people import choose_users, gather_people


def events(*triples):
    return [RatingEvent(user_id=user, item_id=item, rating=rating) for user, item, rating in triples]


def unit_vectors(items):
    return np.ones((len(items), 1)), np.ones(len(items), dtype=np.bool_)


LOG = events(("u", "b", 4.0), ("v", "a", 3.0), ("u", "a", 2.0), ("v", "c", 5.0), ("u", "b", 1.0))


def test_candidates_stand_in_the_order_of_the_items_first_rating_in_the_log():
    people = gather_people(LOG, [], unit_vectors, users=None, seed=7)
    assert people.catalogue.item_ids == ("b", "a", "c")
    assert people.user_ids == ("u", "v")
    assert (people.starts.tolist(), people.rows.tolist()) == ([0, 2, 4], [0, 1, 1, 2])


def test_the_last_rating_of_an_item_counts():
    people = gather_people(LOG, [], unit_vectors, users=None, seed=7)
    assert people.ratings.tolist() == [10_000, 20_000, 30_000, 50_000]
    assert (people.statistics.counts.tolist(), people.statistics.sums.tolist()) == ([1, 2, 1], [10_000, 50_000, 50_000])
    assert (people.statistics.total_count, people.statistics.total_sum) == (4, 110_000)


def test_what_is_known_of_items_stays_known_and_unrated_items_are_left_out():
    known = [Item(item_id="z", year=1990), Item(item_id="a", year=1994)]
    people = gather_people(LOG, known, unit_vectors, users=None, seed=7)
    assert [item.year for item in people.catalogue.items] == [None, 1994, None]


def test_statistics_are_those_of_all_users_also_of_those_not_chosen():
    people = gather_people(LOG, [], unit_vectors, users=1, seed=7)
    assert len(people.user_ids) == 1
    assert people.statistics.total_count == 4


def test_a_sample_is_seeded_and_keeps_the_order_of_the_log():
    ids = [f"u{i}" for i in range(500)]
    first = choose_users(ids, 50, 7).tolist()
    assert first == choose_users(ids, 50, 7).tolist() == sorted(first)
    assert len(set(first)) == 50
    assert first != choose_users(ids, 50, 8).tolist()
    assert choose_users(ids, 900, 7).tolist() == choose_users(ids, None, 7).tolist() == list(range(500))


def test_an_empty_log_is_refused():
    with pytest.raises(DataError, match="no rating"):
        gather_people([], [], unit_vectors, users=None, seed=7)
