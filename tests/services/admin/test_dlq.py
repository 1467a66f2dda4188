"""Redrive: what is sent, what is not, and where it lies then."""

import pytest

from schemas.codec import encode
from schemas.errors import StreamrecError
from schemas.events import RatingEvent
from services.admin import dlq
from services.admin.dlq import plan_redrive, redrive
from services.admin.letters import read_letters
from services.admin.log import open_log
from streams.bus.clients import make_producer
from streams.bus.dead_letters import MAX_LETTER_BYTES, make_dead_letter

pytestmark = pytest.mark.integration

REQUEST = b'{"request_id": "r", "user_id": "u"}'


def value_of(n):
    return encode(RatingEvent(user_id=f"u{n}", item_id="i", rating=4.0))


@pytest.fixture
def post(topics):
    """Puts a record on the dead letters of ratings, or of requests, as if it had been refused."""
    producer = make_producer(topics)

    def send(offset, value, role="ratings", lies_in=None, **values):
        letter = make_dead_letter(
            **{
                "reason": "not_json",
                "topic": topics.topic(role),
                "topic_id": "T",
                "partition": 1,
                "offset": offset,
                "key": b"u",
                "value": value,
                "first_seen_ms": offset,
            }
            | values
        )
        dead = topics.topic(f"{role}.dlq")
        producer.send(dead, key=letter.key, value=letter.value, headers=letter.headers, partition=lies_in).get(10)

    yield send
    producer.close()


def records(settings, role="ratings"):
    with open_log(settings, settings.topic(role)) as log:
        return list(log.read())


def plan(settings, limit=None):
    return plan_redrive(settings, read_letters(settings).letters, limit)


def test_letters_are_validated_again_and_those_that_cannot_be_sent_are_named(topics, post):
    post(1, value_of(1))
    post(2, b"{")
    post(3, value_of(3).ljust(MAX_LETTER_BYTES + 1))
    post(4, value_of(4), topic="old.ratings")
    post(5, REQUEST, "requests")
    post(6, b'{"request_id": "r", "user_id": "u", "k": 0}', "requests")
    post(7, b"{}", "requests")
    made = plan(topics)
    assert [letter.key for letter in made.ready] == ["T/1/1", "T/1/5", "T/1/6"]
    assert [(each.letter.key, each.why.split(":")[0]) for each in made.failing] == [
        ("T/1/2", "not_json"),
        ("T/1/7", "missing_field"),
    ]
    assert [each.letter.key for each in made.refused] == ["T/1/3", "T/1/4"]
    assert made.refused[0].why == "only 900000 of its 900001 bytes were kept"
    assert "old.ratings" in made.refused[1].why


def test_limit_takes_the_oldest_valid_ones_and_counts_the_rest(topics, post):
    post(1, b"{")
    for offset in (2, 3, 4):
        post(offset, value_of(offset))
    made = plan(topics, 2)
    assert ([letter.key for letter in made.ready], made.left) == (["T/1/2", "T/1/3"], 1)


def test_record_is_sent_verbatim_to_its_partition_under_the_coordinates_of_its_first_letter(topics, post):
    post(1, value_of(1), key=None)
    post(2, value_of(2), partition=3, redrive=b"T/2/9")
    post(3, REQUEST, "requests", partition=99)
    progress = []
    assert redrive(topics, plan(topics).ready, on_progress=progress.append) == 3
    assert progress == [3]
    sent = {record.partition: record for record in records(topics)}
    assert (sent[1].key, sent[1].value, sent[1].headers) == (
        None,
        value_of(1),
        [("streamrec-redrive", b"T/1/1")],
    )
    assert (sent[3].key, sent[3].value, sent[3].headers) == (b"u", value_of(2), [("streamrec-redrive", b"T/2/9")])
    assert [record.value for record in records(topics, "requests")] == [REQUEST]
    assert len(read_letters(topics).letters) == 3


def test_letters_are_deleted_only_when_asked(topics, post):
    for offset in (1, 2, 3):
        post(offset, value_of(offset))
    assert redrive(topics, plan(topics, 2).ready, deletes=True) == 2
    assert [letter.key for letter in read_letters(topics).letters] == ["T/1/3"]


def test_letter_is_deleted_where_it_lies_so_that_compaction_finds_it(topics, post):
    for lies_in in range(4):
        post(lies_in, value_of(lies_in), lies_in=lies_in)
    redrive(topics, plan(topics).ready, deletes=True)
    tombstones = {record.key: record.partition for record in records(topics, "ratings.dlq") if record.value is None}
    assert tombstones == {f"T/1/{lies_in}".encode(): lies_in for lies_in in range(4)}


def test_interrupted_redrive_says_how_far_it_came_and_has_deleted_no_more(topics, post, monkeypatch):
    for offset in range(5):
        post(offset, value_of(offset))
    monkeypatch.setattr(dlq, "LETTERS_AT_ONCE", 2)
    letters = plan(topics).ready

    class KilledError(Exception):
        pass

    def die(sent):
        if sent == 4:
            raise KilledError

    with pytest.raises(KilledError):
        redrive(topics, letters, deletes=True, on_progress=die)
    assert [letter.key for letter in read_letters(topics).letters] == ["T/1/4"]
    assert len(records(topics)) == 4


def test_broker_that_refuses_is_said_with_the_count(topics, post):
    post(1, value_of(1))
    (letter,) = plan(topics).ready
    small = make_producer

    def make_small(settings):
        return small(settings, max_request_size=10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dlq, "make_producer", make_small)
        with pytest.raises(StreamrecError, match=r"after 0 letters Kafka at .* run it again"):
            redrive(topics, [letter])
