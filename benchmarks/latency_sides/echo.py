"""What the bus alone takes: every request is answered at once, with ten items made beforehand and no state.

It reads and writes by librdkafka, as `streamrec scorer` with the client `confluent` does.
"""

from confluent_kafka import Consumer, Message

from benchmarks.ingest_sides.progress import say
from schemas.codec import decode_request, encode
from schemas.events import Recommendation, RecommendedItem
from streams.bus.librdkafka import common_arguments, make_librdkafka_producer
from streams.settings import load_settings

AT_ONCE = 256
IDLE_WAIT_S = 0.02
PARTS = {"relevance": 4.0123456789012345, "novelty": 1.0, "bonus": 0.0}
ITEMS = [
    RecommendedItem(item_id=f"i{number}", score=4.0123456789012345, propensity=1.0, explored=False, parts=PARTS)
    for number in range(10)
]


def main() -> None:
    """Answer for ever; settings are by environment."""
    settings = load_settings()
    producer, answers = make_librdkafka_producer(settings), settings.topic("recommendations")
    consumer = Consumer(
        common_arguments(settings)
        | {
            "group.id": f"{settings.namespace}.echo",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": settings.fetch_wait_ms,
        }
    )
    consumer.subscribe([settings.topic("requests")])
    while not consumer.assignment():
        assert consumer.poll(0.1) is None
    say("side.ready")
    while True:
        for message in _take(consumer):
            request = decode_request(message.value())
            answer = Recommendation(request_id=request.request_id, user_id=request.user_id, items=ITEMS)
            producer.produce(answers, encode(answer), message.key())
        producer.poll(0)


def _take(consumer: Consumer) -> list[Message]:
    messages = consumer.consume(AT_ONCE, 0)
    if not messages and (message := consumer.poll(IDLE_WAIT_S)) is not None:
        messages = [message]
    return [message for message in messages if message.error() is None]


if __name__ == "__main__":
    main()
