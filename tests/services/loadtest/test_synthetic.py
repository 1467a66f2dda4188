"""The generated load: what it promises is counted."""

from collections import Counter

import numpy as np
import pytest

from schemas.codec import RatingDecoder
from schemas.errors import EventError
from services.loadtest.synthetic import BAD_EVENTS, BAD_SHARE, generate_load, parse_sizes

DECODE = RatingDecoder(0.5, 5.0).decode


@pytest.fixture(scope="module")
def load():
    return generate_load(200, 300, 20_000, seed=3)


def test_the_same_seed_gives_the_same_load(load):
    again = generate_load(200, 300, 20_000, seed=3)
    assert (again.values, again.keys, again.bad, again.items) == (load.values, load.keys, load.bad, load.items)
    assert generate_load(200, 300, 20_000, seed=4).values != load.values


@pytest.mark.parametrize("reason", BAD_EVENTS)
def test_each_bad_event_is_refused_for_its_reason(reason):
    with pytest.raises(EventError) as refused:
        DECODE(BAD_EVENTS[reason]("u1", "i1"))
    assert refused.value.reason == reason


def test_a_share_of_the_events_is_bad_in_every_way_and_no_other(load):
    assert len(load.bad) == 20_000 * BAD_SHARE
    assert set(Counter(load.bad.values()).values()) == {20}
    for number, value in enumerate(load.values):
        if number not in load.bad:
            assert DECODE(value).user_id == load.keys[number].decode()


def test_users_and_items_follow_zipf(load):
    counts = sorted(Counter(load.keys).values(), reverse=True)
    # Weights 1/r^0.8 over 200 users sum to 11.4: the first has 8.8 %, the tenth 1.4 %. A tenth of the users comes late,
    # so ranks shift a little.
    assert 0.05 < counts[0] / 20_000 < 0.12
    assert 3 < counts[0] / counts[9] < 9


def test_a_tenth_of_users_and_items_appears_during_the_run_and_is_rated_only_then(load):
    first = {}
    for number, value in enumerate(load.values):
        if number not in load.bad:
            first.setdefault(DECODE(value).item_id, number)
    assert len(load.new_items) == 30
    assert len(load.items) == 270
    assert {item.item_id for item in load.items}.isdisjoint(item.item_id for _, item in load.new_items)
    places = [place for place, _ in load.new_items]
    assert places == sorted(places)
    assert 2000 <= places[0] <= places[-1] <= 18_001
    assert all(first.get(item.item_id, len(load)) >= place for place, item in load.new_items)
    newcomers = set(load.keys) - set(load.keys[:2000])
    assert len(newcomers) >= 15


def test_ratings_are_on_the_scale_and_vary(load):
    ratings = [rating for _, _, rating in load.triples(RatingDecoder(0.5, 5.0))]
    assert (min(ratings), max(ratings)) == (0.5, 5.0)
    assert np.mean(ratings) == pytest.approx(3.45, abs=0.1)


@pytest.mark.parametrize("source", ["synthetic:", "synthetic:1,2", "synthetic:1,2,0", "synthetic:a,b,c"])
def test_sizes_written_wrongly_are_refused(source):
    with pytest.raises(ValueError, match="USERS,ITEMS,EVENTS"):
        parse_sizes(source)
