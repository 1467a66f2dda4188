"""What of a record comes before what, whatever the clock said: by each user's t, or by the log as answers saw it.

A user's t after a rating is what the worker makes of it: bad events and repeats do not raise it. A request belongs
between the t-th and the next rating applied, t being that of its answer. In the log as a whole it belongs where the
answer's ``applied_to`` says: behind the events below these offsets and before all others.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec

from recommender.hashing import hash_id
from recommender.ledger.layout import window
from schemas.codec import RatingDecoder, decode_answer, decode_request
from schemas.errors import DataError, EventError, RequestError
from schemas.events import MAX_DEADLINE_MS, Recommendation
from schemas.forget import decode_forget
from services.loadtest.record import Record, RecordedRating

DEADLINE_MS = min(60_000, MAX_DEADLINE_MS)
"""Of a request that is played again: it may wait for its state for so long."""
BY_THE_CLOCK = frozenset({"deadline_exceeded", "state_not_reached", "overloaded", "internal"})
"""Errors that say what time it was, or what was away: no state gives them again."""


@dataclass(frozen=True, slots=True, eq=False)
class PlayedRating:
    """A rating to be sent.

    Attributes:
        value: its bytes.
        key: the user's id, of a bad one that of a user whose rating lay before it.
        partition: where it lay.
        offset: where it lay.
        t: the user's t after it; None for a bad one.
    """

    value: bytes
    key: str
    partition: int
    offset: int
    t: int | None


@dataclass(frozen=True, slots=True, eq=False)
class PlayedRequest:
    """A request to be sent, and the answer it had.

    Attributes:
        value: its bytes, for the state that the answer saw.
        request_id: its id.
        user_id: its user.
        t: of the user, as the answer saw it.
        cut: per partition, the offset below which the answer saw every event applied; 0 is left out.
        answer: the answer's bytes.
    """

    value: bytes
    request_id: str
    user_id: str
    t: int
    cut: Mapping[int, int]
    answer: bytes

    @property
    def recorded(self) -> Recommendation:
        """The answer; decoded when asked for, as many of them take much memory."""
        return decode_answer(self.answer)


@dataclass(slots=True)
class Script:
    """What is to be sent of a record.

    Attributes:
        ratings: those whose place in the log is known, each partition in order.
        requests: those that are to be answered again.
        unreadable: values of ``requests`` that nobody can answer.
        left_out: requests that are not played, by why.
        answered: requests of the record that were answered.
        doubtful: users whose t at an answer is not sure, and why.
        gap: why it is not known from which events the item statistics of an answer came; empty when it is.
    """

    ratings: list[PlayedRating] = field(default_factory=list)
    requests: list[PlayedRequest] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    answered: int = 0
    doubtful: dict[str, str] = field(default_factory=dict)
    gap: str = ""


def make_script(record: Record, decoder: RatingDecoder) -> Script:
    """Return what is to be sent of a record.

    Args:
        record: the run.
        decoder: reads ratings as the worker does.

    Raises:
        DataError: an answer cannot be read or answers no request of the record; an event has a user forgotten.
    """
    script = Script()
    shards = record.about.get("settings", {}).get("shards", 1)
    if shards != 1:
        script.gap = f"its state had {shards} shards, each of which may have been at another moment"
    _add_ratings(script, record.ratings, decoder)
    answers = _first_answers(record.answers)
    script.answered = len(answers)
    asked = set[str]()
    for request in record.requests:
        request_id = _add_request(script, request.value, answers)
        if request_id in asked:
            raise DataError(f"the record has two requests {request_id!r}: their answers cannot be told apart")
        if request_id is not None:
            asked.add(request_id)
    if strange := answers.keys() - asked:
        raise DataError(f"the record has an answer to {min(strange)!r}, which is no request of it")
    return script


def _add_ratings(script: Script, ratings: Iterable[RecordedRating], decoder: RatingDecoder) -> None:
    hashes: defaultdict[str, list[int]] = defaultdict(list)
    partition_of: dict[str, int] = {}
    newest: dict[int, str] = {}
    offsets: defaultdict[int, list[int]] = defaultdict(list)
    # Several processes may have sent: within a partition offsets are the order, whatever `seq` was due first.
    for rating in sorted(ratings, key=lambda rating: (rating.partition, rating.offset)):
        user_id, event = _read_rating(rating, decoder)
        if not rating.is_acknowledged:
            script.gap = script.gap or f"rating {rating.seq} was not acknowledged: where it lies is not known"
            if user_id is not None:
                script.doubtful[user_id] = "a rating of the user was not acknowledged"
            continue
        offsets[rating.partition].append(rating.offset)
        if user_id is None:
            key = newest.get(rating.partition, "")
            script.ratings.append(PlayedRating(rating.value, key, rating.partition, rating.offset, None))
            continue
        if partition_of.setdefault(user_id, rating.partition) != rating.partition:
            script.doubtful[user_id] = "the user's ratings lie in several partitions"
        newest[rating.partition] = user_id
        applied = hashes[user_id]
        if not event or event not in applied[-window(len(applied)) :]:
            applied.append(event)
        script.ratings.append(PlayedRating(rating.value, user_id, rating.partition, rating.offset, len(applied)))
    for partition, found in sorted(offsets.items()):
        if found != list(range(len(found))):
            script.gap = script.gap or (
                f"partition {partition} of the log is not known whole: the record has {len(found)} of its "
                f"{found[-1] + 1} events"
            )


def _read_rating(rating: RecordedRating, decoder: RatingDecoder) -> tuple[str | None, int]:
    """Return a rating's user, None for a bad one, and its event's hash, 0 where it has no id."""
    try:
        event = decoder.decode(rating.value)
    except EventError:
        try:
            is_forget = decode_forget(rating.value) is not None
        except EventError:
            is_forget = False
        if is_forget:
            raise DataError(
                f"rating {rating.seq} has a user forgotten below offsets of its own log, which no other log has: "
                f"{rating.value[:200]!r}"
            ) from None
        return None, 0
    return event.user_id, (hash_id(event.event_id) or 1) if event.event_id is not None else 0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the order needs of an answer."""

    value: bytes
    code: str | None
    t: int
    cut: Mapping[int, int]


def _first_answers(values: Sequence[bytes]) -> dict[str, _Answer]:
    answers: dict[str, _Answer] = {}
    for row, value in enumerate(values, 1):
        try:
            answer = decode_answer(value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"answer {row} of the record cannot be read: {error}: {value[:200]!r}") from error
        code = None if answer.error is None else answer.error.code
        cut = {int(partition): offset for partition, offset in answer.state.applied_to.items() if offset > 0}
        answers.setdefault(answer.request_id, _Answer(value, code, answer.state.t, cut))
    return answers


def _add_request(script: Script, value: bytes, answers: Mapping[str, _Answer]) -> str | None:
    """Put a request where it belongs and return its id, None where that cannot be read."""
    try:
        request = decode_request(value)
        request_id, user_id, is_valid = request.request_id, request.user_id, True
    except RequestError as error:
        request_id, user_id, is_valid = error.request_id, error.user_id, False
    except EventError:
        script.unreadable.append(value)
        return None
    answer = answers.get(request_id)
    if answer is None:
        script.left_out.setdefault("it had no answer", []).append(request_id)
    elif answer.code in BY_THE_CLOCK:
        script.left_out.setdefault(f"{answer.code} depends on the clock", []).append(request_id)
    else:
        sent = _at_state(value, answer.t) if is_valid else value
        script.requests.append(PlayedRequest(sent, request_id, user_id, answer.t, answer.cut, answer.value))
    return request_id


def _at_state(value: bytes, t: int) -> bytes:
    """Return a request for the state that an answer saw: by the user's t, for places in the log are another log's."""
    fields = msgspec.json.decode(value)
    times = {"min_t": t, "min_position": None, "deadline_ms": DEADLINE_MS, "ts_ms": None}
    return msgspec.json.encode({**fields, **times})


Step = PlayedRating | tuple[PlayedRequest, ...]
"""A rating to be sent, or requests that are to be answered before anything else of theirs is sent."""


def by_user(script: Script) -> list[list[Step]]:
    """Return the steps of each user: every request between the rating that made its t and the next one.

    A bad event goes with the user whose rating lay before it. A request for more ratings than there are is left out.
    """
    asked: defaultdict[str, defaultdict[int, list[PlayedRequest]]] = defaultdict(lambda: defaultdict(list))
    for request in script.requests:
        asked[request.user_id][request.t].append(request)
    steps: dict[str, list[Step]] = {}
    reached: dict[str, int] = {}
    for rating in script.ratings:
        own = steps.setdefault(rating.key, [])
        _ask_at(own, asked[rating.key], reached.setdefault(rating.key, 0))
        own.append(rating)
        if rating.t is not None:
            reached[rating.key] = rating.t
    for user_id, by_t in asked.items():
        _ask_at(steps.setdefault(user_id, []), by_t, reached.get(user_id, 0))
        for request in chain.from_iterable(by_t.values()):
            why = "its user had more ratings than the record has"
            script.left_out.setdefault(why, []).append(request.request_id)
    return list(steps.values())


def _ask_at(steps: list[Step], by_t: dict[int, list[PlayedRequest]], t: int) -> None:
    if requests := by_t.pop(t, None):
        steps.append(tuple(requests))


def by_log(script: Script) -> Iterator[Step]:
    """Yield the steps of all users in one order: every request behind the events that its answer saw applied.

    Answers of a state of one shard saw it at moments that follow one another. A request for which there is no such
    moment, as its state had several shards, is left out.
    """
    waiting: defaultdict[int, list[PlayedRating]] = defaultdict(list)
    for rating in sorted(script.ratings, key=lambda rating: -rating.offset):
        waiting[rating.partition].append(rating)
    reached: dict[int, int] = {}
    together: list[PlayedRequest] = []
    for request in sorted(script.requests, key=lambda request: sum(request.cut.values())):
        cut = request.cut
        if any(cut.get(partition, 0) < offset for partition, offset in reached.items()) and cut:
            why = "no moment of the log has the states that it and others saw"
            script.left_out.setdefault(why, []).append(request.request_id)
            continue
        if cut and cut != reached:
            yield from _asked(together)
            together = []
            for partition, offset in sorted(cut.items()):
                while waiting[partition] and waiting[partition][-1].offset < offset:
                    yield waiting[partition].pop()
            reached = dict(cut)
        together.append(request)
    yield from _asked(together)
    for ratings in waiting.values():
        yield from reversed(ratings)


def _asked(together: list[PlayedRequest]) -> Iterator[Step]:
    if together:
        yield tuple(together)
