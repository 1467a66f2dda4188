"""Which request belongs between which ratings, by the users' t and by the log."""

import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recommender.hashing import hash_id
from recommender.ledger import LastEvent, Ledger, apply_event
from schemas.codec import RatingDecoder
from schemas.errors import DataError
from schemas.forget import ForgetEvent, encode_forget
from services.loadtest.logical_order import DEADLINE_MS, by_log, by_user, make_script
from services.loadtest.records import NOT_ACKNOWLEDGED
from tests.services.loadtest.recorded import answered, asked, rated, record_of

DECODER = RatingDecoder(0.5, 5.0)
BAD = b'{"user_id": "u"'


def script_of(ratings=(), requests=(), answers=()):
    return make_script(record_of(ratings, requests, answers), DECODER)


def told(steps):
    """Steps in short: a rating by its bytes' item, requests by their ids."""
    return [
        [request.request_id for request in step]
        if isinstance(step, tuple)
        else json.loads(step.value)["item_id"]
        if step.t is not None
        else "bad"
        for step in steps
    ]


def test_request_goes_between_the_rating_that_made_its_t_and_the_next():
    ratings = [(rated("u", f"i{n}"), 0, n) for n in range(3)]
    requests = [asked(f"r{n}", "u") for n in range(4)]
    answers = [answered("r0", "u", 3), answered("r1", "u", 0), answered("r2", "u", 2), answered("r3", "u", 2)]
    assert [told(steps) for steps in by_user(script_of(ratings, requests, answers))] == [
        [["r1"], "i0", "i1", ["r2", "r3"], "i2", ["r0"]]
    ]


def test_users_have_steps_of_their_own_also_those_who_only_ask():
    ratings = [(rated("u", "a"), 0, 0), (rated("v", "b"), 1, 0), (rated("u", "c"), 0, 1)]
    answers = [answered("r", "v", 1), answered("s", "w", 0)]
    steps = by_user(script_of(ratings, [asked("r", "v"), asked("s", "w")], answers))
    assert sorted(map(told, steps), key=str) == [["a", "c"], ["b", ["r"]], [["s"]]]


def test_offsets_are_the_order_whatever_was_due_first():
    ratings = [(rated("u", "later"), 0, 1), (rated("u", "sooner"), 0, 0)]
    assert [told(steps) for steps in by_user(script_of(ratings))] == [["sooner", "later"]]


def test_repeats_and_bad_events_do_not_raise_t():
    ratings = [
        (rated("u", "a", event_id="e"), 0, 0),
        (rated("u", "b", event_id="e"), 0, 1),
        (BAD, 0, 2),
        (rated("u", "c"), 0, 3),
    ]
    script = script_of(ratings, [asked("r", "u")], [answered("r", "u", 1)])
    assert [rating.t for rating in script.ratings] == [1, 1, None, 2]
    (steps,) = by_user(script)
    assert told(steps) == ["a", ["r"], "b", "bad", "c"]
    assert steps[3].value == BAD


@example(ids=[0, *[None] * 100, 0])
@given(ids=st.lists(st.none() | st.integers(0, 40), max_size=200))
def test_t_is_that_of_the_fold(ids):
    ledger, expected, ratings = Ledger.empty(0), [], []
    for offset, number in enumerate(ids):
        event_id = None if number is None else f"e{number}"
        event = 0 if event_id is None else hash_id(event_id)
        ledger = apply_event(ledger, item=1, rating=1, event=event, at=LastEvent(0, 0, offset), x=None)
        expected.append(ledger.t)
        ratings.append((rated("u", event_id=event_id), 0, offset))
    assert [rating.t for rating in script_of(ratings).ratings] == expected


def test_bad_event_before_every_other_has_no_user_to_go_with():
    script = script_of([(BAD, 0, 0), (rated("u", "a"), 0, 1), (BAD, 1, 0)])
    assert [(rating.key, rating.partition) for rating in script.ratings] == [("", 0), ("u", 0), ("", 1)]


def test_request_is_played_for_its_state_and_not_for_its_time_or_place():
    value = asked(
        "r", "u", k=3, min_t=1, min_position={"partition": 3, "offset": 99}, deadline_ms=5, ts_ms=1, explain=True
    )
    (request,) = script_of((), [value], [answered("r", "u", 4)]).requests
    changed = {"min_t": 4, "min_position": None, "deadline_ms": DEADLINE_MS, "ts_ms": None}
    assert json.loads(request.value) == {**json.loads(value), **changed}


def test_request_that_is_refused_is_played_to_the_byte():
    value = b'{"request_id": "r", "user_id": "u", "k": 0, "ts_ms": 3}'
    script = script_of((), [value], [answered("r", "u", code="invalid_request")])
    assert [request.value for request in script.requests] == [value]


def test_what_no_state_answers_again_is_left_out_by_why():
    requests = [asked(name, "u") for name in ("none", "late", "old")] + [b"unreadable"]
    answers = [answered("late", "u", code="overloaded"), answered("old", "u", 1)]
    script = script_of((), requests, answers)
    by_user(script)
    assert script.unreadable == [b"unreadable"]
    assert script.left_out == {
        "it had no answer": ["none"],
        "overloaded depends on the clock": ["late"],
        "its user had more ratings than the record has": ["old"],
    }
    assert script.answered == 2


def test_first_of_several_answers_counts():
    script = script_of((), [asked("r", "u")], [answered("r", "u", 1), answered("r", "u", 2)])
    assert [request.t for request in script.requests] == [1]


@pytest.mark.parametrize(
    ("ratings", "doubtful"),
    [
        ([(rated("u"), NOT_ACKNOWLEDGED, NOT_ACKNOWLEDGED)], "a rating of the user was not acknowledged"),
        ([(rated("u"), 0, 0), (rated("u"), 1, 0)], "the user's ratings lie in several partitions"),
    ],
)
def test_user_whose_t_is_not_sure_is_named(ratings, doubtful):
    assert script_of(ratings).doubtful == {"u": doubtful}


@pytest.mark.parametrize(
    ("ratings", "gap"),
    [
        ([(rated("u"), 0, 0), (rated("v"), 0, 1)], ""),
        (
            [(rated("u"), 0, 0), (rated("v"), 0, 2)],
            "partition 0 of the log is not known whole: the record has 2 of its 3 events",
        ),
        ([(rated("u"), 1, 1)], "partition 1 of the log is not known whole: the record has 1 of its 2 events"),
        ([(BAD, NOT_ACKNOWLEDGED, NOT_ACKNOWLEDGED)], "rating 0 was not acknowledged: where it lies is not known"),
    ],
)
def test_log_that_is_not_known_whole_is_said_so(ratings, gap):
    assert script_of(ratings).gap == gap


def test_statistics_of_a_state_of_several_shards_are_not_known():
    for shards, gap in ((1, ""), (2, "its state had 2 shards, each of which may have been at another moment")):
        record = replace(record_of(), about={"settings": {"shards": shards}})
        assert make_script(record, DECODER).gap == gap


def test_in_the_log_a_request_goes_behind_the_events_its_answer_saw_and_before_all_others():
    ratings = [(rated(f"u{n}", f"i{n}"), n % 2, n // 2) for n in range(6)]
    answers = [answered("r", "u4", 1, {0: 3, 1: 1}), answered("s", "x", 0), answered("t", "u0", 1, {0: 2, 1: 1})]
    answers.append(answered("u", "u1", 1, {0: 3, 1: 1}))
    requests = [asked(name, answer.user_id) for name, answer in zip("rstu", answers, strict=True)]
    steps = list(by_log(script_of(ratings, requests, answers)))
    assert told(steps) == [["s"], "i0", "i2", "i1", ["t"], "i4", ["r", "u"], "i3", "i5"]


def test_states_that_no_moment_of_the_log_has_are_left_out():
    ratings = [(rated(f"u{n}", f"i{n}"), n % 2, n // 2) for n in range(6)]
    answers = [answered("r", "u0", 1, {0: 1, 1: 3}), answered("s", "u1", 1, {0: 2, 1: 1})]
    script = script_of(ratings, [asked("r", "u0"), asked("s", "u1")], answers)
    assert [step for step in told(by_log(script)) if isinstance(step, list)] == [["s"]]
    assert script.left_out == {"no moment of the log has the states that it and others saw": ["r"]}


def test_record_that_contradicts_itself_is_refused():
    with pytest.raises(DataError, match="an answer to 'r', which is no request of it"):
        script_of((), (), [answered("r", "u")])
    with pytest.raises(DataError, match="two requests 'r'"):
        script_of((), [asked("r", "u"), asked("r", "v")], [])
    with pytest.raises(DataError, match=r"rating 0 has a user forgotten below offsets of its own log"):
        script_of([(encode_forget(ForgetEvent(user_id="u", cut={0: 1})), 0, 0)])
    record = record_of()
    record.answers.append(b"{}")
    with pytest.raises(DataError, match=r"answer 1 of the record cannot be read: .*request_id.*: b'\{\}'"):
        make_script(record, DECODER)
