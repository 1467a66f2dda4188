"""A run before it begins: what lies in the files that the generators read."""

import pytest
from kafka.partitioner import murmur2

from schemas.codec import decode_item, decode_request
from services.loadtest.load import load_of
from services.loadtest.plan import Terms, make_plan
from services.loadtest.schedule import Pace
from services.loadtest.spool import ITEM, RATING, Spool
from services.loadtest.synthetic import generate_load
from tests.services.loadtest.outcomes import events


@pytest.fixture(scope="module")
def load():
    return generate_load(50, 100, 500, seed=1)


@pytest.fixture
def plan(load, tmp_path):
    return make_plan("run", load, Terms(Pace(rate=100.0), probe_share=0.5), tmp_path)


def test_every_event_is_in_the_spool_in_order_with_its_own_time(plan, load):
    spool = Spool(plan.ratings_spool)
    rows = [row for row in range(len(spool)) if spool.kinds[row] == RATING]
    assert [spool.record(row) for row in rows] == list(zip(load.keys, load.values, strict=True))
    assert spool.due[rows].tolist() == plan.due.tolist()
    assert spool.numbers[rows].tolist() == list(range(500))


def test_a_new_item_goes_out_right_before_the_event_that_may_be_the_first_to_name_it(plan, load):
    spool = Spool(plan.ratings_spool)
    found = {}
    number = -1
    for row in range(len(spool)):
        if spool.kinds[row] == RATING:
            number = int(spool.numbers[row])
        elif spool.kinds[row] == ITEM:
            found[decode_item(spool.record(row)[1]).item_id] = number + 1
            assert spool.due[row] == plan.due[number + 1]
    assert found == {item.item_id: place for place, item in load.new_items}


def test_only_good_ratings_are_asked_after(plan, load):
    assert not plan.probed[list(load.bad)].any()
    assert 150 < plan.probed.sum() < 350


def test_requests_ask_for_the_users_who_rate_then(plan):
    spool = Spool(plan.requests_spool)
    assert len(spool) == 500
    for row in (0, 499):
        key, value = spool.record(row)
        request = decode_request(value)
        assert (request.request_id, request.user_id) == (f"run-r{row}", key.decode())
        assert key == plan.load.keys[row]


def test_several_senders_share_the_rows_by_partition(plan):
    spool = Spool(plan.ratings_spool)
    shares = [spool.share(number, 3, 4) for number in range(3)]
    assert sorted(row for share in shares for row in share) == list(range(len(spool)))
    written = [{(murmur2(spool.record(row)[0]) & 0x7FFFFFFF) % 4 for row in share} for share in shares]
    assert written == [{0, 3}, {1}, {2}]


def test_a_duration_leaves_the_rest_of_the_load_out(load, tmp_path):
    plan = make_plan("run", load, Terms(Pace(rate=100.0), duration_s=2.5), tmp_path)
    # In bursts, what is due within 2.5 s of 5 s is half of it.
    assert (len(plan.due), len(plan.load), plan.seconds) == (250, 250, 2.5)
    assert max(plan.load.bad) < 250
    assert all(place < 250 for place, _ in plan.load.new_items)


def test_a_schedule_whose_load_ends_first_is_as_long_as_the_load(tmp_path):
    plan = make_plan("run", load_of("short", events(10)), Terms(Pace(rate=10.0), duration_s=60.0), tmp_path)
    assert plan.seconds == pytest.approx(1.0)


def test_nothing_to_send_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no event"):
        make_plan("run", load_of("none", []), Terms(Pace(rate=1.0)), tmp_path)


def test_a_turn_begins_anew_where_the_load_ends_and_knows_its_bad_events(load):
    turn = load.turn(400, 300)
    assert turn.values == [*load.values[400:], *load.values[:200]]
    assert set(turn.bad) == {n - 400 for n in load.bad if n >= 400} | {n + 100 for n in load.bad if n < 200}
