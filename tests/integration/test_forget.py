"""`streamrec forget` beside a running worker."""

import json

import pytest

from schemas.events import Item
from services.admin.bus import produce_all
from services.admin.forget import forget_user
from services.admin.history import fold_user
from services.admin.letters import read_letters
from services.admin.until import Until
from services.lab.digest import expected_digest
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

ITEMS = ("heat", "alien")


def send(system, *ratings):
    values = [json.dumps({"user_id": u, "item_id": i, "rating": r}).encode() for u, i, r in ratings]
    produce_all(
        system.settings,
        system.settings.topic("ratings"),
        [(u.encode(), v) for (u, _, _), v in zip(ratings, values, strict=True)],
    )


def send_bad(system, *bad):
    produce_all(system.settings, system.settings.topic("ratings"), list(bad))


@pytest.fixture(scope="module")
def worked(make_system):
    system = make_system(partitions=2)
    system.publish(Item(item_id=item) for item in ITEMS)
    system.start("worker")
    return system


def test_user_is_forgotten_with_dead_letters_and_only_that_user(worked):
    send(worked, ("u", "heat", 4.0), ("v", "heat", 2.0), ("u", "alien", 1.0))
    send_bad(worked, (b"u", b"rubbish"), (b"x", b'{"user_id": "u", "rating": 4}'), (b"v", b"rubbish too"))
    worked.wait_until_applied(6)
    wait_until(lambda: len(read_letters(worked.settings).letters) == 3, message="three letters")
    done = forget_user(worked.store, worked.settings, "u", 30)
    assert (done.t, done.items, done.applied, done.letters) == (2, 2, True, 2)
    expected = expected_digest([("v", "heat", 2.0)])
    assert worked.digest(ITEMS) == (expected.state, expected.statistics, 1, 1)
    assert [letter.value for letter in read_letters(worked.settings).letters] == [b"rubbish too"]
    assert "user.forgotten" in [event.get("event") for event in worked.children["worker"].events()]


def test_rating_after_it_starts_a_new_ledger_and_a_new_state_of_the_log_has_the_same_digest(worked):
    send(worked, ("u", "heat", 5.0))
    wait_until(lambda: worked.ledgers(["u"])["u"], message="a new ledger")
    assert worked.ledgers(["u"])["u"].t == 1
    anew = worked.settings.model_copy(update={"namespace": f"{worked.settings.namespace}-anew", "shards": 3})
    child = worked.launch("worker", name="anew", settings=anew)
    child.wait_for_event("worker.ready")
    worked.wait_until_applied(worked.applied(), anew)
    assert worked.digest(ITEMS, anew) == worked.digest(ITEMS)


def test_history_has_the_user_as_forgotten_after_it_and_as_was_before(worked):
    assert fold_user(worked.settings, "u", Until(offset=10**6)).ledger.t == 1
    newest = worked.ledgers(["u"])["u"].last  # the record before it, in its partition, is the forget event
    before = Until(offset=newest.offset - 2, partition=newest.partition)
    assert fold_user(worked.settings, "u", before).ledger.t == 2


def test_worker_applies_a_companys_own_events_as_its_settings_map_them(make_system):
    system = make_system(partitions=1, rating_fields="user_id=payload.user.id,item_id=payload.item,rating=stars")
    system.start("worker")
    own = [
        {"payload": {"user": {"id": u}, "item": i}, "stars": r, "v": "7"}
        for u, i, r in [("u", "heat", 4.0), (7, "alien", 2)]
    ]
    values = [*own, {"user_id": "u", "item_id": "heat", "rating": 4}]
    produce_all(system.settings, system.settings.topic("ratings"), [(b"k", json.dumps(v).encode()) for v in values])
    system.wait_until_applied(3)
    expected = expected_digest([("u", "heat", 4.0), ("7", "alien", 2.0)])
    assert system.digest(ITEMS) == (expected.state, expected.statistics, 2, 2)
    assert [letter.reason for letter in read_letters(system.settings).letters] == ["missing_field"]
