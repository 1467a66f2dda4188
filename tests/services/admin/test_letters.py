"""Dead letters, read and chosen from."""

import pytest

from services.admin.letters import LetterFilter, read_letters
from streams.bus.clients import make_producer
from streams.bus.dead_letters import make_dead_letter

pytestmark = pytest.mark.integration


def letter_of(offset, *, topic="ratings", reason="not_json", at_ms=1000, partition=0, value=b"{", **values):
    return make_dead_letter(
        reason=reason,
        topic=topic,
        topic_id="T",
        partition=partition,
        offset=offset,
        key=b"u",
        value=value,
        first_seen_ms=at_ms,
        **values,
    )


@pytest.fixture
def post(topics):
    """Puts letters on a dead-letter topic, ratings' by default."""
    producer = make_producer(topics)

    def send(*letters, role="ratings.dlq"):
        for letter in letters:
            producer.send(topics.topic(role), key=letter.key, value=letter.value, headers=letter.headers).get(10)

    yield send
    producer.close()


def keys(settings, **chosen):
    return [letter.key for letter in read_letters(settings, LetterFilter(**chosen)).letters]


def test_no_letters_are_an_empty_box(topics):
    box = read_letters(topics)
    assert (box.letters, box.foreign, box.reasons) == ([], 0, {})


def test_letter_is_read_as_it_was_written_the_oldest_first(topics, post):
    post(letter_of(10, at_ms=5), letter_of(9, at_ms=5, reason="bad_id", redrive=b"T/0/1"), letter_of(11, at_ms=2))
    box = read_letters(topics)
    assert [letter.key for letter in box.letters] == ["T/0/11", "T/0/9", "T/0/10"]
    assert box.reasons == {"not_json": 2, "bad_id": 1}
    second = box.letters[1]
    assert (second.role, second.reason, second.topic, second.offset) == ("ratings", "bad_id", "ratings", 9)
    assert (second.value, second.record_key, second.first_seen_ms, second.is_truncated) == (b"{", b"u", 5, False)
    assert (second.origin, box.letters[0].origin) == (b"T/0/1", b"T/0/11")


def test_newest_of_a_key_counts_and_a_tombstone_takes_it_away(topics, post):
    post(letter_of(1), letter_of(2), letter_of(1, reason="bad_id"))
    producer = make_producer(topics)
    producer.send(topics.topic("ratings.dlq"), key=b"T/0/2", value=None).get(10)
    producer.close()
    (letter,) = read_letters(topics).letters
    assert (letter.key, letter.reason) == ("T/0/1", "bad_id")


def test_letters_are_chosen_by_reason_time_topic_and_partition(topics, post):
    post(letter_of(1, at_ms=10), letter_of(2, at_ms=20, reason="bad_id"), letter_of(3, at_ms=30, partition=3))
    post(letter_of(4, at_ms=40, topic="asked"), role="requests.dlq")
    assert keys(topics, reasons=("bad_id",)) == ["T/0/2"]
    assert keys(topics, reasons=("bad_id", "not_json"), since_ms=20, until_ms=40) == ["T/0/2", "T/3/3"]
    assert keys(topics, topic="requests") == keys(topics, topic="asked") == ["T/0/4"]
    assert keys(topics, topic="ratings", partition=3) == ["T/3/3"]
    assert keys(topics, topic="another") == []


def test_records_of_other_programs_are_counted_and_left_out(topics, post):
    producer = make_producer(topics)
    topic, made = topics.topic("ratings.dlq"), letter_of(1)
    producer.send(topic, key=b"k", value=b"v").get(10)
    producer.send(topic, key=b"k", value=b"v", headers=made.headers).get(10)
    producer.send(topic, key=made.key, value=b"v", headers=[h for h in made.headers if "seen" not in h[0]]).get(10)
    producer.close()
    post(letter_of(2))
    box = read_letters(topics)
    assert ([letter.key for letter in box.letters], box.foreign) == (["T/0/2"], 3)
