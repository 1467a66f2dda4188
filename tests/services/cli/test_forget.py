"""`streamrec forget` where no worker runs."""

import pytest

from schemas.forget import decode_forget
from services.admin.log import open_log

pytestmark = pytest.mark.integration


def test_event_goes_to_every_partition_and_what_stays_is_said(run, topics):
    outcome = run("forget", "7", "--timeout-s", "0", settings=topics)
    assert outcome.code == 1
    assert "no worker has applied it" in outcome.err
    assert "removed: 0 dead letters" in outcome.out
    assert "removed: the ledger" not in outcome.out
    for word in ("the log of", "requests", "recommendations", "SHA-256", "backups"):
        assert word in outcome.out
    with open_log(topics, topics.topic("ratings")) as log:
        events = {record.partition: decode_forget(record.value) for record in log.read()}
    assert sorted(events) == [0, 1, 2, 3]
    assert {event.user_id for event in events.values()} == {"7"}
    assert events[0].cut == dict.fromkeys(range(4), 0)
    again = run("forget", "7", "--timeout-s", "0", settings=topics)
    assert again.code == 1


def test_forget_event_is_no_fault_of_a_topic(run, topics):
    run("forget", "7", "--timeout-s", "0", settings=topics)
    assert run("validate", "--topic", topics.topic("ratings"), settings=topics).code == 0


def test_id_that_cannot_be_is_refused(run, topics):
    outcome = run("forget", "", settings=topics)
    assert outcome.code == 1
    assert "user_id must have 1 to 128 characters" in outcome.err
