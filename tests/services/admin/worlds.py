"""A log on the broker and a state of it that a worker's own path has made, for tests of what is made anew."""

import asyncio
import json

from recommender.catalogue import build_catalogue
from recommender.hashing import shard_of
from schemas.events import Item
from schemas.forget import ForgetEvent, encode_forget
from services.admin.bus import log_ends, open_admin
from services.admin.catalogue import publish_items
from services.admin.digest import state_digest
from services.admin.generations import BUSY_MS
from services.admin.log import open_log
from services.admin.rebuild import rebuild_state
from services.lab.digest import expected_digest
from streams.bus.clients import make_producer
from streams.bus.topics import create_topics, require_topic
from streams.catalogue import embedded_items
from streams.ratings import make_rating_decoder
from streams.store.clients import make_async_client, make_client
from streams.store.generations import read_generation
from streams.store.reader import StateReader
from streams.store.writer import StateWriter, Watermark
from streams.worker.apply import BatchApplier
from streams.worker.claim import Claimer
from tests.streams.worker.memory import MemoryLog

RATINGS = [(f"u{n % 23}", f"i{n * n % 31}", (n % 10 + 1) / 2) for n in range(600)]
ITEM_IDS = [f"i{n}" for n in range(31)]
PARTITIONS = 3


def quiet(_name, _total):
    return lambda _records: None


class World:
    """A log on the broker and a state of it in the store."""

    def __init__(self, settings):
        self.settings = settings
        self.client = make_client(settings)
        with open_admin(settings) as admin:
            create_topics(admin, settings)
            self.topic = require_topic(admin, settings.topic("ratings"))
        publish_items(settings, [Item(item_id=item) for item in ITEM_IDS])
        self.letters = []

    def send(self, *ratings):
        """Publish ratings, each user's in a partition of its own."""
        self.send_raw(
            *(
                (shard_of(u, PARTITIONS), json.dumps({"user_id": u, "item_id": i, "rating": r}).encode())
                for u, i, r in ratings
            )
        )

    def send_raw(self, *records, headers=None, times_ms=()):
        producer = make_producer(self.settings)
        times = [*times_ms, *[None] * (len(records) - len(times_ms))]
        sent = [
            producer.send(self.topic.name, value, partition=p, headers=headers, timestamp_ms=time_ms)
            for (p, value), time_ms in zip(records, times, strict=True)
        ]
        places = [future.get(timeout=20) for future in sent]
        producer.close()
        return places

    def forget(self, user):
        event = encode_forget(ForgetEvent(user_id=user, cut=log_ends(self.settings, self.topic)))
        self.send_raw(*((partition, event) for partition in range(PARTITIONS)))

    def work(self, *, ages=True, resumes=False):
        """Apply what is new in the log as a worker does, and rest for as long as a rebuild asks for."""

        async def main(client):
            writer = StateWriter(client, self.settings.namespace, self.settings.shards, self.settings.rating_scale)

            async def topic_id():
                return self.topic.topic_id

            async def send(letters):
                self.letters.extend(letters)

            vectors = embedded_items(build_catalogue([]))
            applier = BatchApplier(writer, make_rating_decoder(self.settings), send, lambda: vectors, len)
            claimer = Claimer(writer, self.topic.name, topic_id, resumes=resumes)
            with open_log(self.settings, self.topic.name) as log:
                records = {p: [] for p in log.ends}
                for record in log.read():
                    records[record.partition].append(record)
                for partition, end in log.ends.items():
                    source = MemoryLog(records[partition], log.starts[partition], end, partition=partition)
                    session = await claimer.claim(source)
                    todo = [record for record in records[partition] if record.offset >= session.position]
                    if todo:
                        await applier.apply(session, todo)

        async def connected():
            client = make_async_client(self.settings)
            try:
                await main(client)
            finally:
                await client.aclose()

        asyncio.run(connected())
        if ages:
            self.age()

    def age(self, by_ms=BUSY_MS + 1000):
        """Let the newest moves of all watermarks be longer ago."""
        for key in self.client.scan_iter(f"{{{self.settings.namespace}:*:watermark:*"):
            mark = Watermark.parse(self.client.get(key))
            self.client.set(key, f"{mark.next_offset} {mark.fence} {mark.owner} {mark.stamp_ms - by_ms}")

    def rebuild(self, on_stage=quiet, *, shards=None, **how):
        settings = self.settings if shards is None else self.settings.model_copy(update={"shards": shards})
        return rebuild_state(settings, on_stage, **how)

    @property
    def live(self):
        return read_generation(self.client, self.settings.namespace, self.settings.shards)

    def digest(self):
        found = state_digest(self.client, self.settings, ITEM_IDS)
        return found.state, found.statistics

    def watermarks(self):
        topic = self.topic
        reader = StateReader(self.client, self.settings.namespace, self.settings.shards, topic.topic_id, PARTITIONS)
        return {shard: view.watermarks for shard, view in reader.read([], all_shards=True).shards.items()}

    def keys(self, generation):
        return [key.decode() for key in self.client.scan_iter(f"{{{self.settings.namespace}:*}}:g{generation}:*")]


def expected(ratings):
    found = expected_digest(ratings)
    return found.state, found.statistics
