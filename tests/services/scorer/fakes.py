"""A producer, an inbox and a state that do as a test says; the pure parts behind them are the real ones."""

import itertools
from types import SimpleNamespace

from kafka.future import Future

from schemas.codec import decode_answer, encode
from schemas.errors import StoreUnavailable
from schemas.events import RecommendationRequest
from services.scorer.outbox import Outbox
from services.scorer.scoring import Scorer
from streams.bus.topics import TopicInfo
from streams.store.reader import ShardView
from tests.services.scorer.sights import make_answerer, make_catalogue, make_sight


class FakeProducer:
    """Acknowledges at once, or when told; counts what it was asked for."""

    def __init__(self):
        self.sent = []
        self.pending = []
        self.is_holding = False
        self.refusal = None
        self.flushes = 0

    def send(self, topic, value=None, key=None, headers=None):
        if self.refusal is not None:
            raise self.refusal
        self.sent.append(SimpleNamespace(topic=topic, value=value, key=key, headers=headers))
        future = Future()
        self.pending.append(future)
        if not self.is_holding:
            self.acknowledge()
        return future

    def acknowledge(self):
        for future in self.pending:
            future.success(None)
        self.pending = []

    def fail(self, error):
        for future in self.pending:
            future.failure(error)
        self.pending = []

    def flush(self, timeout=None):  # noqa: ARG002 - the producer's signature
        self.flushes += 1
        self.acknowledge()

    def close(self, timeout=None):
        pass


class FakeInbox:
    """Hands out records put before; keeps what was committed."""

    def __init__(self):
        self.records = []
        self.revoked = set()
        self.commits = []
        self.closed_with = None
        self.holds = []
        self._offsets = itertools.count(10)

    def put(self, value, *, partition=0, offset=None, timestamp=0, key=b"key"):
        if isinstance(value, RecommendationRequest):
            value = encode(value)
        record = SimpleNamespace(
            partition=partition,
            offset=next(self._offsets) if offset is None else offset,
            timestamp=timestamp,
            key=key,
            value=value,
            headers=(),
        )
        self.records.append(record)
        return record

    def poll(self, wait_s, most=256, *, is_held=False):  # noqa: ARG002 - the inbox's signature
        self.holds.append(is_held)
        if is_held:
            return []
        taken, self.records = self.records[:most], self.records[most:]
        return taken

    def take_revoked(self):
        taken, self.revoked = self.revoked, set()
        return taken

    def commit(self, offsets):
        self.commits.append(dict(offsets))

    def lag(self):
        return {}

    def fault(self):
        return ""

    def close(self, offsets, timeout_s):  # noqa: ARG002 - the inbox's signature
        self.closed_with = dict(offsets)


class FakeStates:
    """A state in memory: ledgers by user, one watermark."""

    def __init__(self):
        self.ledgers = {}
        self.unreadable = {}
        self.watermark = 0
        self.is_away = False
        self.looks = []
        self.partitions = 4

    def look(self, user_ids, catalogue):
        if self.is_away:
            raise StoreUnavailable("the store did not answer: away")
        self.looks.append(list(user_ids))
        ledgers = {user_id: self.ledgers.get(user_id) for user_id in user_ids if user_id not in self.unreadable}
        sight = make_sight(ledgers, catalogue, unreadable=self.unreadable)
        sight.state.shards[0] = self._view()
        return sight

    def glance(self):
        if self.is_away:
            raise StoreUnavailable("the store did not answer: away")
        return {0: self._view()}

    def _view(self):
        return ShardView({0: self.watermark}, 1.0, 0)


class Bench:
    """A scorer among fakes, with a clock moved by hand."""

    def __init__(self):
        self.inbox, self.states, self.producer = FakeInbox(), FakeStates(), FakeProducer()
        self.now_ms = 0.0
        self.catalogue = make_catalogue()
        self.scorer = Scorer(
            self.inbox,
            Outbox(self.producer, "answers", "letters"),
            self.states,
            make_answerer(),
            lambda: self.catalogue,
            TopicInfo("requests", "topic-id", 4),
            lambda: self.now_ms,
        )

    def ask(self, request_id="r", user_id="u", **said):
        place = {name: said.pop(name) for name in ("partition", "offset", "timestamp", "key") if name in said}
        request = RecommendationRequest(request_id=request_id, user_id=user_id, **said)
        return self.inbox.put(request, **place)

    def look_again(self):
        """Step as if the pause between two looks at what waits had passed."""
        self.scorer._looked_s = float("-inf")
        self.scorer.step()

    @property
    def answers(self):
        return [decode_answer(record.value) for record in self.producer.sent if record.topic == "answers"]

    @property
    def letters(self):
        return [record for record in self.producer.sent if record.topic == "letters"]

    def codes(self):
        return {answer.request_id: answer.error.code if answer.error else "ok" for answer in self.answers}
