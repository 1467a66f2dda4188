from types import SimpleNamespace

import pytest

from schemas.codec import encode
from schemas.errors import EventError, RequestError
from schemas.events import Position, RecommendationRequest
from services.scorer.intake import read_question

NOW_MS = 1_000_000.0


def read(timestamp=int(NOW_MS), partitions=4, **said):
    value = encode(RecommendationRequest(request_id="r", user_id="u", **said))
    record = SimpleNamespace(partition=2, offset=9, timestamp=timestamp, key=b"k", value=value)
    return read_question(record, partitions, 1.5, NOW_MS)


def test_a_question_remembers_its_place_and_key():
    question = read()
    assert (question.place.partition, question.place.offset, question.place.key) == (2, 9, b"k")
    assert question.received_s == 1.5


@pytest.mark.parametrize(
    ("timestamp", "ts_ms", "deadline_ms", "expected"),
    [
        (999_000, None, 5000, 1_004_000),
        (999_000, 998_000, 5000, 1_003_000),
        (999_000, 0, 5000, 5000),
        (999_000, 10**15, 5000, 1_005_000),
        (10**15, None, 5000, 1_005_000),
        (-1, None, 5000, 1_005_000),
        (999_000, 998_000, 1, 998_001),
    ],
)
def test_the_deadline_counts_from_ts_ms_else_the_record_and_from_now_at_the_latest(
    timestamp, ts_ms, deadline_ms, expected
):
    question = read(timestamp, ts_ms=ts_ms, deadline_ms=deadline_ms)
    assert question.deadline_ms == expected
    assert not question.is_expired(expected)
    assert question.is_expired(expected + 1)


def test_a_position_in_a_partition_that_the_ratings_have_not_is_an_invalid_request():
    read(min_position=Position(partition=3, offset=0))
    with pytest.raises(RequestError, match=r"min_position.partition must be in \[0, 4\), got 4") as refusal:
        read(min_position=Position(partition=4, offset=0))
    assert (refusal.value.code, refusal.value.request_id) == ("invalid_request", "r")


def test_a_record_without_readable_ids_is_an_event_error():
    record = SimpleNamespace(partition=0, offset=0, timestamp=0, key=None, value=b'{"user_id": "u"}')
    with pytest.raises(EventError, match="request_id is required"):
        read_question(record, 4, 0.0, NOW_MS)
