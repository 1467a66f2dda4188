"""A scorer as one would write it first: one request at a time, by the product's own policy code.

A request is taken from a kafka-python consumer, the state is read, the answer made and sent, and its acknowledgement
waited for; then comes the next. Offsets are committed by the client, every five seconds.
"""

import time

from benchmarks.ingest_sides.progress import say
from schemas.codec import decode_request, encode
from services.admin.bus import open_admin
from services.scorer.answer import Answerer
from services.scorer.routing import Routing, make_policy_settings
from services.scorer.state import StateSource
from streams.bus.clients import make_consumer, make_producer
from streams.bus.topics import require_topic
from streams.catalogue import LiveCatalogue
from streams.settings import Settings, load_settings
from streams.store.clients import make_client
from streams.store.reader import StateReader
from streams.store.statistics import StatisticsFollower

START_TIMEOUT_S = 300.0
ACKNOWLEDGE_TIMEOUT_S = 30.0
FETCH_WAIT_MS = 500


def main() -> None:
    """Answer for ever; settings are by environment."""
    settings = load_settings()
    policy_settings = make_policy_settings(settings)
    answerer = Answerer(
        Routing(settings.policy_weights, policy_settings, settings.seed), policy_settings, settings.seed
    )
    with open_admin(settings) as admin:
        ratings = require_topic(admin, settings.topic("ratings"))
        catalogue = LiveCatalogue(settings, admin)
        catalogue.start()
        catalogue.wait_until_ready(START_TIMEOUT_S)
    client = make_client(settings)
    reader = StateReader(client, settings.namespace, settings.shards, ratings.topic_id, ratings.partitions)
    states = StateSource(reader, StatisticsFollower(client, reader), ratings.topic_id)
    states.look([], catalogue.current.catalogue)
    _serve(settings, answerer, states, catalogue)


def _serve(settings: Settings, answerer: Answerer, states: StateSource, catalogue: LiveCatalogue) -> None:
    producer = make_producer(settings, linger_ms=0)
    consumer = make_consumer(
        settings,
        group_id=f"{settings.namespace}.plain",
        enable_auto_commit=True,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    consumer.subscribe([settings.topic("requests")])
    while not consumer.assignment():
        assert not consumer.poll(timeout_ms=100)
    say("side.ready")
    for record in consumer:
        request = decode_request(record.value)
        sight = states.look([request.user_id], catalogue.current.catalogue)
        answer = answerer.answer(request, sight)
        answer.ts_ms = int(time.time() * 1000)
        sent = producer.send(settings.topic("recommendations"), key=record.key, value=encode(answer))
        sent.get(ACKNOWLEDGE_TIMEOUT_S)


if __name__ == "__main__":
    main()
