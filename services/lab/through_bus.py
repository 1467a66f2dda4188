"""The experiment as real events: each choice is asked of the scorer, each rating goes to the worker.

One request is outstanding a user: step t is asked with ``min_t`` t, its rating is sent when the answer is there, and
then step t + 1 is asked. What came of it is computed from the choices by the experiment's own bookkeeping.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from kafka import TopicPartition
from kafka.errors import KafkaError

from recommender.arrays import Flags, Floats, Integers
from recommender.policies import PolicySettings
from recommender.profile import update_mean
from recommender.simulation.experiment import Outcomes, Terms, simulate
from recommender.simulation.people import Block, People
from recommender.simulation.players import Picks, name_step, predict_compat
from recommender.simulation.table import Table
from schemas.codec import RATING_QUANTUM, decode_answer, encode
from schemas.errors import ConfigurationError, StreamrecError
from schemas.events import MAX_ID_LENGTH, RatingEvent, Recommendation, RecommendationRequest
from streams.bus.clients import make_consumer, make_producer
from streams.settings import Settings

USERS_AT_ONCE = 512
DEADLINE_MS = 60_000
STALL_S = 90.0
_POLL_MS = 20
_CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What the scorer answered for one policy; each of shape [U, T].

    Attributes:
        columns: which of the user's candidates.
        scores: its score.
        explored: whether the uniform draw picked it.
        seconds: from the request sent to the answer read.
    """

    columns: Integers
    scores: Floats
    explored: Flags
    seconds: Floats


@dataclass(frozen=True, slots=True)
class _Asked:
    """A step that is asked for, and when."""

    policy: int
    user: int
    step: int
    at: float


def ask_for_choices(
    people: People,
    policies: Sequence[str],
    terms: Terms,
    settings: PolicySettings,
    seed: int,
    bus: Settings,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Heard]:
    """Return what worker and scorer make of the experiment, by policy.

    Args:
        people: the users; user ``u`` is ``policy/u`` on the bus.
        policies: names of ``_compat`` policies.
        terms: how the experiment is run, in compat mode.
        settings: parameters; epsilon goes with the requests, the scorer must have the others.
        seed: of every draw; the scorer must have it.
        bus: where the bus is.
        on_step: called after every step of a user.

    Raises:
        ConfigurationError: an id is too long with the policy's name before it; no broker answers.
        StreamrecError: an answer is an error, or another one than asked for; nothing was heard for a long time.
    """
    with ExitStack() as opened:
        return _Conversation(people, policies, terms, settings, seed, bus, on_step, opened).run()


def outcomes_of(people: People, terms: Terms, s: float, heard: Heard) -> Outcomes:
    """Return what came of the choices heard; ``seconds`` are those of the bus."""
    told = simulate(people, lambda block: _Told(block, s, heard), terms, time.perf_counter)
    return replace(told, seconds=heard.seconds)


class _Told:
    """Plays what was heard; see :class:`recommender.simulation.players.Player`."""

    def __init__(self, block: Block, s: float, heard: Heard) -> None:
        self._users, self._s, self._heard = block.users, s, heard

    def choose(self, table: Table, plays: Flags) -> Picks:  # noqa: ARG002 - in compat mode everybody plays
        at = self._users, table.t
        columns = self._heard.columns[at]
        return Picks(columns, self._heard.scores[at], self._heard.explored[at], np.zeros(len(columns)))

    def learn(self, table: Table, x: Floats, ratings: Floats) -> Floats:
        return update_mean(table.theta, table.t, ratings[:, np.newaxis] * x)

    def predict(self, table: Table, theta: Floats, x: Floats) -> Floats:
        return predict_compat(theta, x, table.t, self._s)


class _Conversation:
    def __init__(
        self,
        people: People,
        policies: Sequence[str],
        terms: Terms,
        settings: PolicySettings,
        seed: int,
        bus: Settings,
        on_step: Callable[[], None],
        opened: ExitStack,
    ) -> None:
        self._people, self._policies, self._terms = people, policies, terms
        self._epsilon, self._seed, self._on_step = settings.compat_epsilon, seed, on_step
        shape = len(people.user_ids), terms.steps
        self._heard = {
            policy: Heard(
                np.zeros(shape, dtype=np.int64), np.zeros(shape), np.zeros(shape, dtype=np.bool_), np.zeros(shape)
            )
            for policy in policies
        }
        self._candidates = [
            tuple(people.catalogue.item_ids[row] for row in people.rows[first:last].tolist())
            for first, last in zip(people.starts[:-1].tolist(), people.starts[1:].tolist(), strict=True)
        ]
        self._due = deque((policy, user) for user in range(shape[0]) for policy in range(len(policies)))
        self._open: dict[str, _Asked] = {}
        self._requests, self._ratings = bus.topic("requests"), bus.topic("ratings")
        self._failures: list[BaseException] = []
        self._check_ids()
        self._producer = make_producer(bus, linger_ms=1)
        opened.callback(self._producer.close, timeout=_CLOSE_TIMEOUT_S)
        self._consumer = make_consumer(bus)
        opened.callback(self._consumer.close)
        topic = bus.topic("recommendations")
        partitions = self._consumer.partitions_for_topic(topic) or set()
        self._consumer.assign([TopicPartition(topic, partition) for partition in sorted(partitions)])

    def run(self) -> dict[str, Heard]:
        for tp, end in self._consumer.end_offsets(sorted(self._consumer.assignment())).items():
            self._consumer.seek(tp, end)
        heard_at = time.monotonic()
        while self._due or self._open:
            while self._due and len(self._open) < USERS_AT_ONCE:
                self._ask(*self._due.popleft(), step=0)
            try:
                polled = self._consumer.poll(timeout_ms=_POLL_MS)
            except KafkaError as error:
                raise StreamrecError(f"reading the answers failed: {error!r}") from error
            if self._failures:
                raise StreamrecError(f"the bus did not take a record: {self._failures[0]!r}") from self._failures[0]
            for record in (record for records in polled.values() for record in records):
                self._take(record.value)
                heard_at = time.monotonic()
            if time.monotonic() - heard_at > STALL_S:
                raise StreamrecError(
                    f"no answer for {STALL_S:g} s, {len(self._open)} requests are open (request_id {min(self._open)})"
                )
        self._producer.flush()
        return self._heard

    def _ask(self, policy: int, user: int, step: int) -> None:
        name = self._policies[policy]
        user_id, request_id = name_step(self._seed, name, self._people.user_ids[user], step)
        request = RecommendationRequest(
            request_id=request_id,
            user_id=user_id,
            k=1,
            policy=name,
            epsilon=self._epsilon if name.startswith("epsilon_greedy") else None,
            candidates=self._candidates[user],
            exclude_seen=False,
            min_t=step,
            deadline_ms=DEADLINE_MS,
        )
        self._open[request_id] = _Asked(policy, user, step, time.perf_counter())
        self._send(self._requests, user_id, encode(request))

    def _take(self, value: Any) -> None:
        try:
            answer = decode_answer(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
            return
        asked = self._open.pop(answer.request_id, None)
        if asked is None:  # an answer given twice
            return
        item_id = self._note(asked, answer)
        place = (
            self._people.starts[asked.user] + self._heard[self._policies[asked.policy]].columns[asked.user, asked.step]
        )
        rating = float(self._people.ratings[place] / RATING_QUANTUM)
        event = RatingEvent(
            user_id=answer.user_id,
            item_id=item_id,
            rating=rating,
            event_id=answer.request_id,
            request_id=answer.request_id,
        )
        self._send(self._ratings, answer.user_id, encode(event))
        if asked.step + 1 < self._terms.steps:
            self._ask(asked.policy, asked.user, asked.step + 1)
        self._on_step()

    def _note(self, asked: _Asked, answer: Recommendation) -> str:
        """Take an answer in and return the item chosen."""
        if answer.error is not None or len(answer.items) != 1 or answer.state.t != asked.step:
            found = answer.error or f"{len(answer.items)} items at t = {answer.state.t}"
            raise StreamrecError(f"request {answer.request_id!r} must be answered by 1 item, got {found}")
        (item,) = answer.items
        heard, at = self._heard[self._policies[asked.policy]], (asked.user, asked.step)
        heard.columns[at] = self._candidates[asked.user].index(item.item_id)
        heard.scores[at] = item.score
        heard.explored[at] = item.explored
        heard.seconds[at] = time.perf_counter() - asked.at
        return item.item_id

    def _send(self, topic: str, user_id: str, value: bytes) -> None:
        self._producer.send(topic, key=user_id.encode(), value=value).add_errback(self._failures.append)

    def _check_ids(self) -> None:
        longest = max(self._people.user_ids, key=len)
        for policy in self._policies:
            _, request_id = name_step(self._seed, policy, longest, self._terms.steps)
            if len(request_id) > MAX_ID_LENGTH:
                raise ConfigurationError(
                    f"a request id must have at most {MAX_ID_LENGTH} characters, {request_id!r} has {len(request_id)}"
                )
