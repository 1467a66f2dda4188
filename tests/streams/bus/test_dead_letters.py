"""Dead letters: the bytes as they were, and what is said of them."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from streams.bus.dead_letters import CODE_VERSION, MAX_LETTER_BYTES, make_dead_letter


def letter(**changes):
    record = {
        "reason": "not_json",
        "topic": "ratings",
        "topic_id": "01a207b3",
        "partition": 2,
        "offset": 88,
        "key": b"u",
        "value": b"\xffbad",
        "first_seen_ms": 1_700_000_000_000,
    }
    return make_dead_letter(**record | changes)


def test_letter_has_the_verbatim_bytes_and_says_where_from_and_why():
    made = letter()
    assert made.key == b"01a207b3/2/88"
    assert made.value == b"\xffbad"
    assert dict(made.headers) == {
        "streamrec-reason": b"not_json",
        "streamrec-topic": b"ratings",
        "streamrec-topic-id": b"01a207b3",
        "streamrec-partition": b"2",
        "streamrec-offset": b"88",
        "streamrec-first-seen-ms": b"1700000000000",
        "streamrec-code-version": CODE_VERSION.encode(),
        "streamrec-key": b"u",
    }


def test_same_record_has_the_same_key_so_that_compaction_folds_a_repeat():
    assert letter(first_seen_ms=1).key == letter(first_seen_ms=2, reason="bad_id").key
    assert letter(topic_id="other").key != letter().key


def test_missing_value_is_empty_bytes_because_null_would_be_a_tombstone():
    assert letter(value=None).value == letter(value=b"").value == b""


def test_missing_key_is_an_empty_header():
    assert dict(letter(key=None).headers)["streamrec-key"] == b""


def test_value_of_exactly_the_most_bytes_is_whole():
    made = letter(value=b"x" * MAX_LETTER_BYTES)
    assert len(made.value) == MAX_LETTER_BYTES == 900_000
    assert "streamrec-truncated-length" not in dict(made.headers)


def test_larger_value_is_cut_and_described():
    value = b"x" * MAX_LETTER_BYTES + b"y"
    made = letter(value=value)
    assert made.value == value[:-1]
    headers = dict(made.headers)
    assert headers["streamrec-truncated-length"] == b"900001"
    assert headers["streamrec-sha256"] == hashlib.sha256(value).hexdigest().encode()


@given(st.none() | st.binary(max_size=50), st.none() | st.binary(max_size=50))
def test_any_record_makes_a_letter_that_a_producer_takes(key, value):
    made = letter(key=key, value=value)
    assert made.value == (value or b"")
    assert all(isinstance(name, str) and isinstance(content, bytes) for name, content in made.headers)


def test_key_longer_than_a_letter_has_room_for_is_cut_and_its_length_kept():
    headers = dict(letter(key=b"k" * 900_000).headers)
    assert headers["streamrec-key"] == b"k" * 16 * 1024
    assert headers["streamrec-key-truncated-length"] == b"900000"
