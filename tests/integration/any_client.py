"""A client as anybody may write one: kafka-python and JSON, and nothing of ours."""

import json
import uuid

import kafka

WAIT_S = 30.0


class Client:
    """Publishes items, ratings and requests, and reads answers and dead letters.

    Args:
        servers: the broker.
        prefix: what precedes the default name of each topic.
    """

    def __init__(self, servers, prefix=""):
        self._prefix = prefix
        self._producer = kafka.KafkaProducer(bootstrap_servers=servers, acks="all", max_request_size=1_048_576)
        self._readers = {
            role: kafka.KafkaConsumer(
                bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=10
            )
            for role in ("recommendations", "ratings.dlq", "requests.dlq")
        }
        for role, reader in self._readers.items():
            topic = prefix + role
            found = reader.partitions_for_topic(topic)
            reader.assign([kafka.TopicPartition(topic, partition) for partition in sorted(found)])
        self.answers = {}
        self.answer_keys = {}
        self.letters = {}

    def close(self):
        """Close every connection."""
        self._producer.close()
        for reader in self._readers.values():
            reader.close()

    def send(self, role, key, value, **place):
        """Write bytes and return where they lie, as the broker says."""
        written = self._producer.send(self._prefix + role, key=key, value=value, **place).get(timeout=WAIT_S)
        return {"partition": written.partition, "offset": written.offset}

    def describe(self, item_id, **fields):
        """Publish an item."""
        return self.send("items", item_id.encode(), json.dumps({"item_id": item_id, **fields}).encode())

    def withdraw(self, item_id):
        """Publish that there is no such item any more."""
        return self.send("items", item_id.encode(), None)

    def rate(self, user_id, item_id, rating, **fields):
        """Publish a rating and return where it lies."""
        value = {"user_id": user_id, "item_id": item_id, "rating": rating, **fields}
        return self.send("ratings", str(user_id).encode(), json.dumps(value).encode())

    def request(self, user_id, **fields):
        """Publish a request and return its id."""
        request_id = uuid.uuid4().hex
        value = {"request_id": request_id, "user_id": user_id, **fields}
        self.send("requests", str(user_id).encode(), json.dumps(value).encode())
        return request_id

    def ask(self, user_id, **fields):
        """Publish a request and return the answer to it."""
        return self.answer(self.request(user_id, **{"deadline_ms": 20_000, **fields}))

    def answer(self, request_id):
        """Return the first answer to a request."""
        return self._await("recommendations", self.answers, request_id)

    def letter(self, role, key):
        """Return the dead letter of a topic with a key."""
        return self._await(role, self.letters, key)

    def _await(self, role, found, key):
        tries = int(WAIT_S / 0.02)
        while key not in found and tries:
            tries -= 1
            for records in self._readers[role].poll(timeout_ms=20).values():
                for record in records:
                    self._take(role, record)
        return found[key]

    def _take(self, role, record):
        if role != "recommendations":
            self.letters[record.key] = record
            return
        answer = json.loads(record.value)
        self.answers.setdefault(answer["request_id"], answer)
        self.answer_keys.setdefault(answer["request_id"], record.key)
