"""The dead letters from the command line."""

import json

import pytest

from schemas.codec import encode
from schemas.events import RatingEvent
from services.admin.log import open_log
from streams.bus.clients import make_producer
from streams.bus.dead_letters import make_dead_letter

pytestmark = pytest.mark.integration

GOOD = encode(RatingEvent(user_id="u", item_id="i", rating=4.0))


@pytest.fixture
def letters(topics):
    """Four letters of ratings: two valid by now, one that is not, one with bytes that are no text; one of requests."""
    producer = make_producer(topics)
    wanted = [
        ("ratings", "missing_field", 1, GOOD),
        ("ratings", "missing_field", 2, GOOD),
        ("ratings", "bad_id", 3, b'{"user_id":"\x1b[2J"'),
        ("ratings", "not_utf8", 4, b"\xff\x00"),
        ("requests", "not_json", 5, b"ten films please"),
    ]
    for role, reason, offset, value in wanted:
        letter = make_dead_letter(
            reason=reason,
            topic=topics.topic(role),
            topic_id="T",
            partition=0,
            offset=offset,
            key=b"u",
            value=value,
            first_seen_ms=offset * 1000,
        )
        dead = topics.topic(f"{role}.dlq")
        producer.send(dead, key=letter.key, value=letter.value, headers=letter.headers).get(10)
    producer.close()
    return topics


def rated(settings):
    with open_log(settings, settings.topic("ratings")) as log:
        return len(list(log.read()))


def test_list_counts_reasons_and_shows_the_newest(run, letters):
    outcome = run("dlq", "list", "--newest", "2", settings=letters)
    assert outcome.code == 0, outcome.err
    assert "missing_field │ 2" in outcome.out
    assert "newest 2 of 5" in outcome.out
    assert outcome.out.index("T/0/5") < outcome.out.index("T/0/4")
    assert "T/0/3" not in outcome.out
    assert "1970-01-01T00:00:05" in outcome.out


def test_list_speaks_json_of_those_that_are_meant(run, letters):
    outcome = run("dlq", "list", "--json", "--reason", "bad_id", "--reason", "not_json", settings=letters)
    found = json.loads(outcome.out)
    assert found["reasons"] == {"bad_id": 1, "not_json": 1}
    assert [letter["key"] for letter in found["letters"]] == ["T/0/3", "T/0/5"]
    since = run("dlq", "list", "--json", "--since", "1970-01-01T00:00:02", "--until", "4000", settings=letters)
    assert [letter["key"] for letter in json.loads(since.out)["letters"]] == ["T/0/2", "T/0/3"]
    other = run("dlq", "list", "--json", "--topic", "requests", "--partition", "0", settings=letters)
    assert [letter["key"] for letter in json.loads(other.out)["letters"]] == ["T/0/5"]
    assert run("dlq", "list", "--partition", "1", settings=letters).out == "no dead letters\n"


def test_unknown_reason_is_wrong_usage(run):
    outcome = run("dlq", "list", "--reason", "ugly")
    assert outcome.code == 2
    assert "reason must be one of not_utf8" in " ".join(outcome.err.replace("│", " ").split())


def test_show_has_every_header_and_the_bytes_and_no_control_characters(run, letters):
    text = run("dlq", "show", "T/0/3", settings=letters)
    assert "streamrec-first-seen-ms" in text.out
    assert '17 bytes as text:\n{"user_id":"\\x1b[2J"\n' in text.out
    assert "2 bytes as hex:\nff 00\n" in run("dlq", "show", "T/0/4", settings=letters).out
    found = json.loads(run("dlq", "show", "T/0/4", "--json", settings=letters).out)
    assert (found["hex"], found["headers"]["streamrec-reason"]) == ("ff 00", "not_utf8")


def test_show_of_no_letter_says_so(run, letters):
    outcome = run("dlq", "show", "T/0/99", settings=letters)
    assert outcome.code == 1
    assert "no dead letter has the key 'T/0/99'" in outcome.err


def test_dry_run_says_what_would_be_sent_and_sends_nothing(run, letters):
    outcome = run("dlq", "redrive", "--dry-run", settings=letters)
    assert outcome.code == 1
    assert outcome.out == "2 of 5 letters would be sent\n"
    assert "3 still break the contract" in outcome.err
    assert "T/0/5: not_json" in outcome.err
    assert rated(letters) == 0


def test_redrive_sends_what_is_meant_and_keeps_the_letters_unless_told(run, letters):
    limited = run("dlq", "redrive", "--reason", "missing_field", "--limit", "1", settings=letters)
    assert (limited.code, limited.out) == (0, "1 of 2 letters sent\n")
    assert "1 more are valid and beyond the limit" in limited.err
    deleting = run("dlq", "redrive", "--reason", "missing_field", "--delete", settings=letters)
    assert (deleting.code, deleting.out) == (0, "2 of 2 letters sent and deleted\n")
    assert rated(letters) == 3
    again = run("dlq", "redrive", "--reason", "missing_field", settings=letters)
    assert (again.code, again.out) == (0, "0 of 0 letters sent\n")
