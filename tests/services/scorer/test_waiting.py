import pytest

from schemas.events import Position, RecommendationRequest
from services.scorer.intake import Place, Question
from services.scorer.waiting import MAX_WAITING, WaitingRoom, is_reached
from streams.store.reader import ShardView


def request(**said):
    return RecommendationRequest(request_id="r", user_id="u", **said)


def question(name="r", *, deadline_ms=1000.0, partition=0):
    asked = RecommendationRequest(request_id=name, user_id="u", min_t=5)
    return Question(Place(partition, 0, None), asked, 0.0, deadline_ms)


def views(offset):
    return {0: ShardView({0: offset}, 1.0, 7)}


@pytest.mark.parametrize(
    ("said", "t", "watermarks", "expected"),
    [
        ({}, 0, {}, True),
        ({"min_t": 0}, 0, {}, True),
        ({"min_t": 3}, 2, {}, False),
        ({"min_t": 3}, 3, {}, True),
        ({"min_position": Position(partition=0, offset=88)}, 0, {0: 88}, False),
        ({"min_position": Position(partition=0, offset=88)}, 0, {0: 89}, True),
        ({"min_position": Position(partition=1, offset=0)}, 0, {0: 89}, False),
        ({"min_t": 3, "min_position": Position(partition=0, offset=1)}, 3, {0: 1}, False),
        ({"min_t": 3, "min_position": Position(partition=0, offset=1)}, 3, {0: 2}, True),
    ],
)
def test_a_state_is_reached_when_t_is_and_the_watermark_has_passed_the_position(said, t, watermarks, expected):
    assert is_reached(request(**said), t, watermarks) is expected


def test_all_are_due_when_a_watermark_has_moved_and_none_while_it_stands():
    room = WaitingRoom()
    room.add(question("a"))
    assert [due.request.request_id for due in room.take_due(views(1), 0)] == ["a"]
    room.add(question("b"))
    assert room.take_due(views(1), 0) == []
    assert [due.request.request_id for due in room.take_due(views(2), 0)] == ["b"]
    assert len(room) == 0


def test_what_has_expired_is_due_even_when_nothing_moves():
    room = WaitingRoom()
    room.take_due(views(1), 0)
    room.add(question("early", deadline_ms=10))
    room.add(question("late", deadline_ms=20))
    assert room.take_due(views(1), 10) == []
    assert [due.request.request_id for due in room.take_due(views(1), 11)] == ["early"]
    assert len(room) == 1


def test_the_questions_of_a_lost_partition_are_forgotten():
    room = WaitingRoom()
    room.add(question("a", partition=0))
    room.add(question("b", partition=1))
    room.drop(0)
    assert [due.request.request_id for due in room.take_due(views(1), 0)] == ["b"]


def test_a_room_fills_up():
    room = WaitingRoom()
    for _ in range(MAX_WAITING):
        assert not room.is_full
        room.add(question())
    assert room.is_full
