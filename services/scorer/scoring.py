"""The scorer's loop, one micro-batch a step: take requests, look at the state once, answer, settle offsets.

A batch is what came while the one before it was answered: one request when idle, full batches under load. Nothing waits
for more to come; that made every load's latency longer and the highest rate no higher.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from recommender.catalogue import Catalogue
from schemas.errors import EventError, RequestError, StoreUnavailable
from schemas.events import Recommendation, RecommendationRequest, Timing
from services.scorer import metrics
from services.scorer.answer import Answerer, Prepared, Sight
from services.scorer.inbox import MAX_BATCH
from services.scorer.intake import Place, Question, RequestRecord, read_question
from services.scorer.offsets import OffsetTracker
from services.scorer.outbox import Outbox
from services.scorer.ports import RequestSource
from services.scorer.state import StateSource
from services.scorer.waiting import WaitingRoom, is_reached
from streams.bus.dead_letters import make_dead_letter
from streams.bus.topics import TopicInfo
from streams.tracing import Spans

log = structlog.get_logger(__name__)
_standard_log = logging.getLogger(__name__)
"""Tells whether a line is wanted fifty times sooner than structlog drops it."""

IDLE_WAIT_S = 0.02
"""kafka-python may sleep through a poll's whole time while records lie in its buffer, so polls are short."""
RECHECK_S = 0.01
STORE_RETRY_S = 0.05
SEND_EVERY_S = 0.01
"""Answers of one batch are kept for so long: sent together they share the producer's requests, of which each costs."""
SEARCHED_TOGETHER = 64
"""A search for so many users costs each little; more of them would only wait for each other."""
MAX_UNACKNOWLEDGED = 4096


class Scorer:
    """Answers every request at least once.

    Args:
        inbox: where requests come from.
        outbox: where answers go.
        states: the state in the store.
        answerer: the pure part.
        catalogue: returns the live catalogue.
        topic: of the requests.
        now_ms: the wall clock.
        spans: makes the span of each request; None where nothing is traced.

    Attributes:
        acknowledged: answers and dead letters that the broker has acknowledged.
    """

    def __init__(
        self,
        inbox: RequestSource,
        outbox: Outbox,
        states: StateSource,
        answerer: Answerer,
        catalogue: Callable[[], Catalogue],
        topic: TopicInfo,
        now_ms: Callable[[], float] = lambda: time.time() * 1000,
        spans: Spans | None = None,
    ) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._states = states
        self._answerer = answerer
        self._catalogue = catalogue
        self._topic = topic
        self._now_ms = now_ms
        self._spans = spans
        self._tracker = OffsetTracker()
        self._waiting = WaitingRoom()
        self._backlog: list[Question] = []
        self._looked_s = 0.0
        self._is_store_away = False
        self.acknowledged = 0

    @property
    def unanswered(self) -> int:
        """Requests taken whose answer the broker has not acknowledged, those that wait included."""
        return self._tracker.unanswered

    @property
    def waiting(self) -> int:
        """Requests that wait for a state or for the store."""
        return len(self._waiting) + len(self._backlog)

    def warm_up(self, policies: Iterable[str]) -> None:
        """Score once with each policy, so that the first request finds everything loaded.

        Raises:
            StoreUnavailable: no answer.
        """
        sight = self._states.look(["warm-up"], self._catalogue())
        for name in policies:
            request = RecommendationRequest(request_id="warm-up", user_id="warm-up", policy=name)
            with contextlib.suppress(RequestError):  # of a policy whose model is not released yet
                self._answerer.answer(request, sight)

    def step(self) -> None:
        """Take what has come, answer it, and commit what is settled.

        Raises:
            StreamrecError: the broker refuses.
        """
        records = self._take_records()
        questions = self._backlog + self._take_due() + self._read(records)
        self._backlog = []
        live = self._refuse_expired(questions)
        for first in range(0, len(live), MAX_BATCH):
            self._answer_batch(live[first : first + MAX_BATCH])
        self._settle()

    def finish(self, timeout_s: float) -> None:
        """Answer what can be answered now, wait for the broker, commit, and leave the group.

        What still waits is left uncommitted, for the next scorer.

        Raises:
            StreamrecError: answers were not acknowledged in time; their offsets are not committed.
        """
        try:
            self._answer_batch(self._backlog + self._take_due(is_last=True))
            self._outbox.flush(timeout_s)
            self._note_acknowledged()
        finally:
            self._inbox.close(self._tracker.committable(), timeout_s / 2)

    def _take_records(self) -> Sequence[RequestRecord]:
        is_held = bool(self._backlog) or self._tracker.unanswered - len(self._waiting) > MAX_UNACKNOWLEDGED
        wait_s = IDLE_WAIT_S
        if is_held:
            wait_s = STORE_RETRY_S
        elif len(self._waiting) or self._tracker.unanswered:
            wait_s = RECHECK_S
        records = self._inbox.poll(wait_s, is_held=is_held)
        self._forget_revoked()
        for record in records:
            self._tracker.receive(record.partition, record.offset)
        return records

    def _forget_revoked(self) -> None:
        revoked = self._inbox.take_revoked()
        for partition in revoked:
            self._tracker.drop(partition)
            self._waiting.drop(partition)
        if revoked:
            self._backlog = [question for question in self._backlog if question.place.partition not in revoked]

    def _take_due(self, *, is_last: bool = False) -> list[Question]:
        now_s = time.perf_counter()
        if not len(self._waiting) or (now_s - self._looked_s < RECHECK_S and not is_last):
            return []
        self._looked_s = now_s
        try:
            views = self._states.glance()
        except StoreUnavailable:
            views = {}
        return self._waiting.take_due(views, self._now_ms())

    def _read(self, records: Sequence[RequestRecord]) -> list[Question]:
        received_s, now_ms = time.perf_counter(), self._now_ms()
        questions = []
        for record in records:
            place = self._place(record)
            try:
                question = read_question(record, self._states.partitions, received_s, now_ms, place.span)
                self._answerer.check(question.request)
            except RequestError as error:
                refusal = self._answerer.refuse(error.request_id, error.user_id, error.code, error.message)
                self._send(place, refusal, received_s)
            except EventError as error:
                self._send_letter(place, record, error.reason)
            except Exception:
                log.exception("request.unreadable", partition=record.partition, offset=record.offset)
                self._send_letter(place, record, "wrong_type")
            else:
                questions.append(question)
        return questions

    def _place(self, record: RequestRecord) -> Place:
        """Return where a request lies, its span begun where requests are traced."""
        if self._spans is None:
            return Place.of(record)
        span = self._spans.begin_request(self._topic.name, record.partition, record.offset, record.headers)
        return Place.of(record, span)

    def _answer_batch(self, questions: Sequence[Question]) -> None:
        live = self._refuse_expired(questions)
        if not live:
            return
        began_s = time.perf_counter()
        metrics.BATCH_REQUESTS.observe(len(live))
        try:
            sight = self._states.look([question.request.user_id for question in live], self._catalogue())
        except StoreUnavailable as error:
            if not self._is_store_away:
                log.warning("store.unavailable", error=str(error))
            self._is_store_away = True
            for question in live:
                question.fault = f"the state could not be read before the deadline: {error}"
            self._backlog += live
            return
        if self._is_store_away:
            log.info("store.back")
        self._is_store_away = False
        for first in range(0, len(live), SEARCHED_TOGETHER):
            self._answer_together(live[first : first + SEARCHED_TOGETHER], sight)
        if _standard_log.isEnabledFor(logging.DEBUG):
            ms = round((time.perf_counter() - began_s) * 1000, 2)
            log.debug("batch.answered", requests=len(live), waiting=self.waiting, unanswered=self.unanswered, ms=ms)

    def _answer_together(self, questions: Sequence[Question], sight: Sight) -> None:
        """Answer questions whose slates are made at once; nobody's answer depends on who else is among them."""
        started_s = time.perf_counter()
        prepared = self._answerer.prepare([question.request for question in questions], sight)
        answered: list[tuple[Question, Recommendation]] = []
        sent_s = time.perf_counter()
        for question, own in zip(questions, prepared, strict=True):
            question.fault = ""
            answer = self._answer_one(question, sight, own, started_s)
            if answer is not None:
                answered.append((question, answer))
            if time.perf_counter() - sent_s > SEND_EVERY_S:
                self._send_all(answered)
                answered, sent_s = [], time.perf_counter()
        self._send_all(answered)

    def _refuse_expired(self, questions: Sequence[Question]) -> list[Question]:
        """Answer the questions that expired before their state was looked at, and return the others."""
        live, now_ms = [], self._now_ms()
        for question in questions:
            if not question.is_expired(now_ms) or (question.has_waited and not question.fault):
                live.append(question)
                continue
            request = question.request
            code = "internal" if question.fault else "deadline_exceeded"
            message = question.fault or f"deadline_ms of {request.deadline_ms} has passed"
            refusal = self._answerer.refuse(request.request_id, request.user_id, code, message)
            self._send(question.place, refusal, question.received_s)
        return live

    def _answer_one(
        self, question: Question, sight: Sight, prepared: Prepared | None, started_s: float
    ) -> Recommendation | None:
        request = question.request
        try:
            answer = self._try_answer(question, sight, prepared)
        except RequestError as error:
            answer = self._answerer.refuse(request.request_id, request.user_id, error.code, error.message, sight)
        except Exception as error:
            log.exception("request.failed", request_id=request.request_id, user_id=request.user_id)
            why = f"scoring failed: {type(error).__name__}: {error}"
            answer = self._answerer.refuse(request.request_id, request.user_id, "internal", why)
        if answer is not None:
            done_s = time.perf_counter()
            metrics.SCORE_SECONDS.observe(done_s - started_s)
            answer.timing = Timing(
                queue_ms=round((started_s - question.received_s) * 1000, 3),
                score_ms=round((done_s - started_s) * 1000, 3),
            )
        return answer

    def _try_answer(self, question: Question, sight: Sight, prepared: Prepared | None) -> Recommendation | None:
        """Return the answer; None when the question now waits for its state."""
        request = question.request
        if request.min_t is None and request.min_position is None:
            return self._answerer.answer(request, sight, prepared)
        if request.user_id not in sight.unreadable:
            ledger = sight.state.ledgers[request.user_id]
            t = 0 if ledger is None else ledger.t
            if not is_reached(request, t, sight.state.view(request.user_id).watermarks):
                return self._wait(question, t, sight)
        return self._answerer.answer(request, sight, prepared)

    def _wait(self, question: Question, t: int, sight: Sight) -> Recommendation | None:
        request = question.request
        if question.is_expired(self._now_ms()):
            asked = f"min_t {request.min_t}, min_position {request.min_position}"
            code, message = "state_not_reached", f"the state was at t {t} at the deadline, the request asks {asked}"
        elif self._waiting.is_full:
            code, message = "overloaded", f"{len(self._waiting)} requests wait for their state already"
        else:
            self._waiting.add(question)
            return None
        return self._answerer.refuse(request.request_id, request.user_id, code, message, sight)

    def _send_all(self, answered: Iterable[tuple[Question, Recommendation]]) -> None:
        for question, answer in answered:
            self._send(question.place, answer, question.received_s)

    def _send(self, place: Place, answer: Recommendation, received_s: float) -> None:
        answer.ts_ms = int(self._now_ms())
        try:
            self._outbox.send_answer(place, answer)
        except ValueError as error:
            log.exception("answer.unsendable", request_id=answer.request_id, user_id=answer.user_id)
            answer = self._answerer.refuse(answer.request_id, answer.user_id, "internal", str(error))
            answer.ts_ms = int(self._now_ms())
            self._outbox.send_answer(place, answer)
        metrics.ANSWERS.labels(answer.error.code if answer.error else metrics.OK).inc()
        metrics.ANSWER_SECONDS.observe(time.perf_counter() - received_s)

    def _send_letter(self, place: Place, record: RequestRecord, reason: str) -> None:
        letter = make_dead_letter(
            reason=reason,
            topic=self._topic.name,
            topic_id=self._topic.topic_id,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            first_seen_ms=int(self._now_ms()),
        )
        self._outbox.send_letter(place, letter)
        metrics.REQUEST_LETTERS.labels(reason).inc()

    def _settle(self) -> None:
        self._note_acknowledged()
        self._inbox.commit(self._tracker.committable())

    def _note_acknowledged(self) -> None:
        settled = self._outbox.take_acknowledged()
        for place in settled:
            self._tracker.answer(place.partition, place.offset)
        self.acknowledged += len(settled)
