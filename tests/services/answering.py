"""An answerer of the tests' own, in place of a scorer."""

import threading
from contextlib import contextmanager

from kafka import TopicPartition

from schemas.codec import decode_request
from streams.bus.clients import make_consumer, make_producer


@contextmanager
def answering(settings, answers_of):
    """Answer each request with the values that ``answers_of`` gives for it, until the block ends."""
    consumer = make_consumer(settings)
    producer = make_producer(settings)
    stop = threading.Event()
    topic = settings.topic("requests")
    tps = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic)]
    consumer.assign(tps)
    consumer.seek_to_beginning(*tps)

    def work():
        while not stop.is_set():
            for records in consumer.poll(timeout_ms=100).values():
                for record in records:
                    for value in answers_of(decode_request(record.value)):
                        producer.send(settings.topic("recommendations"), key=record.key, value=value)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        producer.close()
        consumer.close()
