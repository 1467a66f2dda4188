"""Have a user forgotten: one event to every partition of the ratings, and the user's dead letters deleted."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka.errors import KafkaError

from schemas.codec import RatingDecoder, normalise_id
from schemas.errors import EventError, StreamrecError
from schemas.events import MAX_REQUEST_BYTES
from schemas.fields import read_object
from schemas.forget import ForgetEvent, encode_forget
from services.admin.bus import ACKNOWLEDGE_TIMEOUT_S, log_ends, open_admin
from services.admin.letters import Letter, read_letters
from streams.bus.clients import make_producer
from streams.bus.topics import TopicInfo, require_topic
from streams.ratings import make_rating_decoder
from streams.settings import Settings
from streams.store.reader import StateReader

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was done.

    Attributes:
        t: ratings the state had of the user before.
        items: different items among them.
        applied: whether the worker has applied it in every partition; it will as soon as it can.
        letters: dead letters deleted.
        records: where the events lie, offset by partition.
    """

    t: int
    items: int
    applied: bool
    letters: int
    records: Mapping[int, int]


def forget_user(client: Any, settings: Settings, user_id: str, timeout_s: float) -> Forgotten:
    """Have a user forgotten and wait until the worker has done so.

    Doing it again, after a failure or for ratings that came since, is safe.

    Args:
        client: a blocking client of the store.
        settings: where the bus is, names of topics and keys.
        user_id: who.
        timeout_s: how long to wait for the worker.

    Raises:
        EventError: the id breaks the contract; nothing was written.
        ConfigurationError: no broker answers, or a topic does not exist; nothing was written.
        StoreUnavailable: the store did not answer.
        StreamrecError: the broker did not take an event.
    """
    user_id = normalise_id(user_id, "user_id")
    with open_admin(settings) as admin:
        topic = require_topic(admin, settings.topic("ratings"))
    reader = StateReader(client, settings.namespace, settings.shards, topic.topic_id, topic.partitions)
    before = reader.read([user_id]).ledgers[user_id]
    letters = [letter for letter in read_letters(settings).letters if is_of(letter, user_id, _decode(settings))]
    records = _produce(settings, topic, user_id, letters)

    def is_applied() -> bool:
        marks = reader.read([user_id]).view(user_id).watermarks
        return all(marks.get(partition, 0) > offset for partition, offset in records.items())

    return Forgotten(
        t=0 if before is None else before.t,
        items=0 if before is None else len({*before.base["item"].tolist(), *before.tail["item"].tolist()}),
        applied=_wait(is_applied, timeout_s),
        letters=len(letters),
        records=records,
    )


def is_of(letter: Letter, user_id: str, decode: Callable[[bytes], Any]) -> bool:
    """Return whether a dead letter is a user's: by the key of the bad record, or by what can be read of its value."""
    if letter.record_key == user_id.encode():
        return True
    try:
        return bool(decode(letter.value).user_id == user_id)
    except EventError:
        pass
    try:
        return normalise_id(read_object(letter.value, MAX_REQUEST_BYTES).get("user_id")) == user_id
    except EventError:
        return False


def _decode(settings: Settings) -> Callable[[bytes], Any]:
    decoder: RatingDecoder = make_rating_decoder(settings)
    return decoder.decode


def _produce(settings: Settings, topic: TopicInfo, user_id: str, letters: list[Letter]) -> dict[int, int]:
    value = encode_forget(ForgetEvent(user_id=user_id, cut=log_ends(settings, topic)))
    producer = make_producer(settings)
    try:
        sent = [
            producer.send(topic.name, key=user_id.encode(), value=value, partition=partition)
            for partition in range(topic.partitions)
        ]
        for letter in letters:
            dlq = settings.topic("ratings.dlq" if letter.role == "ratings" else "requests.dlq")
            sent.append(producer.send(dlq, key=letter.key.encode(), value=None, partition=letter.lies_in))
        done = [future.get(timeout=ACKNOWLEDGE_TIMEOUT_S) for future in sent]
    except KafkaError as error:
        raise StreamrecError(
            f"Kafka at {settings.bootstrap_servers} did not take every record: {error!r}; run it again"
        ) from error
    finally:
        producer.close(timeout=ACKNOWLEDGE_TIMEOUT_S)
    return {written.partition: written.offset for written in done[: topic.partitions]}


def _wait(is_done: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
