"""What a scorer needs around it: topics, items, a state in the store, and somebody who asks."""

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace

import numpy as np
from kafka import TopicPartition

from recommender.ledger.batch import EmbeddedItems, fold_batch
from schemas.codec import RatingDecoder, decode_answer, encode
from schemas.events import Item, RatingEvent, Recommendation, RecommendationRequest
from services.scorer.service import run_scorer
from streams.bus.clients import make_admin, make_consumer, make_producer
from streams.bus.topics import create_topics, require_topic
from streams.settings import Settings
from streams.store.clients import make_async_client
from streams.store.keys import topic_hash
from streams.store.writer import StateWriter
from streams.worker.batches import cut_events, decode_records, statistics_deltas
from tests.waiting import wait_until

OWNER = "stage"


class Stage:
    """Topics of its own on a broker, a namespace of its own in a store, and one consumer of answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.admin = make_admin(settings)
        create_topics(self.admin, settings)
        self.ratings = require_topic(self.admin, settings.topic("ratings"))
        self.requests = require_topic(self.admin, settings.topic("requests"))
        self.producer = make_producer(settings, linger_ms=0)
        self._readers = {
            role: make_consumer(settings, auto_offset_reset="earliest") for role in ("recommendations", "requests.dlq")
        }
        for role, reader in self._readers.items():
            topic = settings.topic(role)
            reader.assign([TopicPartition(topic, partition) for partition in range(self.requests.partitions)])
        self.answers: dict[str, list[Recommendation]] = {}
        self.answer_records: list = []
        self.letters: list = []
        self._asked: list = []

    def close(self) -> None:
        self.producer.close()
        for reader in self._readers.values():
            reader.close()
        self.admin.close()

    def describe(self, items: Iterable[Item]) -> None:
        for item in items:
            self.produce("items", item.item_id.encode(), encode(item))
        self.producer.flush(10)

    def produce(self, role, key: bytes | None, value: bytes | None):
        return self.producer.send(self.settings.topic(role), key=key, value=value)

    def rate(self, ratings: Sequence[tuple[str, str, float]], embedded: EmbeddedItems, partition: int = 0) -> int:
        """Apply ratings to the store as the worker would; return the watermark after them."""
        return asyncio.run(self._rate(ratings, embedded, partition))

    async def _rate(self, ratings, embedded, partition) -> int:
        settings = self.settings
        client = make_async_client(settings)
        writer = StateWriter(client, settings.namespace, settings.shards, settings.rating_scale)
        taken = [
            await writer.assign(shard, self.ratings.topic_id, partition, OWNER, 0) for shard in range(settings.shards)
        ]
        start = taken[0][1]
        records = [
            SimpleNamespace(
                offset=start + i,
                timestamp=0,
                key=None,
                headers=(),
                value=encode(RatingEvent(user_id=u, item_id=item, rating=r)),
            )
            for i, (u, item, r) in enumerate(ratings)
        ]
        events, _ = decode_records(records, RatingDecoder(settings.rating_min, settings.rating_max), settings.shards)
        end = start + len(records)
        marks = [start] * settings.shards
        for cut in cut_events(events, end, list(marks)):
            for shard, (claim, _) in enumerate(taken):
                part = cut.parts.get(shard)
                if part is None:
                    await writer.commit(claim, marks[shard], cut.end)
                else:
                    counts = [int((part.events.users == i).sum()) for i in range(len(part.user_ids))]
                    stored = (await writer.read(claim, part.user_ids, counts, embedded)).ledgers
                    revs = np.arange(1, len(stored) + 1, dtype=np.uint64)
                    folded = fold_batch(
                        part.events, stored, revs, topic_hash(self.ratings.topic_id), partition, embedded
                    )
                    deltas = statistics_deltas(part.events, folded.applied)
                    user_ids = [part.user_ids[user] for user in folded.users]
                    await writer.commit(claim, marks[shard], cut.end, user_ids, folded.writes, deltas)
                marks[shard] = cut.end
        await client.aclose()
        return end

    def ask(self, request: RecommendationRequest) -> None:
        self._asked.append(self.produce("requests", request.user_id.encode(), encode(request)))

    def answer(self, request_id: str, timeout_s: float = 20.0) -> Recommendation:
        """Return the first answer to a request."""
        wait_until(lambda: self._pump() or self.answers.get(request_id), timeout_s, f"answer to {request_id}")
        return self.answers[request_id][0]

    def letter(self, key: bytes, timeout_s: float = 20.0):
        """Return the dead letter with a key."""
        wait_until(lambda: self._pump() or any(letter.key == key for letter in self.letters), timeout_s)
        return next(letter for letter in self.letters if letter.key == key)

    def exchange(self, **fields) -> Recommendation:
        """Ask and return the answer."""
        request = RecommendationRequest(
            **{"request_id": uuid.uuid4().hex, "user_id": "u", "deadline_ms": 60_000} | fields
        )
        self.ask(request)
        return self.answer(request.request_id)

    def request_ends(self) -> dict[int, int]:
        """Return the offset after the last request asked, by partition."""
        ends = dict.fromkeys(range(self.requests.partitions), 0)
        for future in self._asked:
            place = future.get(10)
            ends[place.partition] = max(ends[place.partition], place.offset + 1)
        return ends

    def committed_requests(self) -> dict[int, int]:
        """Return the offsets that the scorers have committed."""
        reader = make_consumer(self.settings, group_id=self.settings.group_scorer)
        tps = [TopicPartition(self.requests.name, partition) for partition in range(self.requests.partitions)]
        offsets = {tp.partition: reader.committed(tp) or 0 for tp in tps}
        reader.close()
        return offsets

    def _pump(self) -> None:
        for records in self._readers["recommendations"].poll(timeout_ms=5).values():
            for record in records:
                answer = decode_answer(record.value)
                self.answers.setdefault(answer.request_id, []).append(answer)
                self.answer_records.append(record)
        for records in self._readers["requests.dlq"].poll(timeout_ms=0).values():
            self.letters += records


@contextlib.contextmanager
def running_scorer(settings: Settings) -> Iterator[threading.Event]:
    """A scorer in a thread; what it raised is raised at the end, and it must end within 10 s."""
    stop = threading.Event()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            run_scorer(settings, stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            raised.append(error)

    thread = threading.Thread(target=run, name="scorer")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        began = time.monotonic()
        thread.join(30)
        assert not thread.is_alive(), "the scorer did not end"
        assert time.monotonic() - began < 10, "the scorer took more than 10 s to end"
    if raised:
        raise raised[0]
