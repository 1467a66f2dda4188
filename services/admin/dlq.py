"""Redrive: dead letters validated again, and sent to their topic again under what the worker knows them by."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka.errors import KafkaError

from schemas.codec import decode_request
from schemas.errors import EventError, RequestError, StreamrecError
from services.admin.bus import ACKNOWLEDGE_TIMEOUT_S, OnProgress, open_admin
from services.admin.letters import Letter, LetterRole
from streams.bus.clients import make_producer
from streams.bus.dead_letters import REDRIVE_HEADER
from streams.bus.topics import require_topic
from streams.ratings import make_rating_decoder
from streams.settings import Settings

LETTERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Refused:
    """A letter that is not sent, and why."""

    letter: Letter
    why: str


@dataclass(frozen=True, slots=True)
class RedrivePlan:
    """What a redrive would do.

    Attributes:
        ready: letters to send, the oldest first.
        failing: letters that still break the contract.
        refused: letters that cannot be sent whole, or to no topic that is read.
        left: letters beyond the limit.
    """

    ready: list[Letter]
    failing: list[Refused]
    refused: list[Refused]
    left: int


def plan_redrive(settings: Settings, letters: Sequence[Letter], limit: int | None = None) -> RedrivePlan:
    """Validate letters again, as this release does, and say which can be sent."""
    decode = _decoders(settings)
    plan = RedrivePlan([], [], [], 0)
    for letter in letters:
        if letter.is_truncated:
            length = letter.headers["streamrec-truncated-length"].decode(errors="replace")
            plan.refused.append(Refused(letter, f"only {len(letter.value)} of its {length} bytes were kept"))
        elif letter.topic != settings.topic(letter.role):
            read = settings.topic(letter.role)
            plan.refused.append(Refused(letter, f"it is of topic {letter.topic!r}, what is read is {read!r}"))
        else:
            try:
                decode[letter.role](letter.value)
            except EventError as error:
                plan.failing.append(Refused(letter, str(error)))
            else:
                plan.ready.append(letter)
    most = len(plan.ready) if limit is None else limit
    return RedrivePlan(plan.ready[:most], plan.failing, plan.refused, max(0, len(plan.ready) - most))


def redrive(
    settings: Settings, letters: Sequence[Letter], *, deletes: bool = False, on_progress: OnProgress | None = None
) -> int:
    """Send letters to their topics, each to its old partition, and return how many were acknowledged.

    The worker applies each once, however often it is sent; a scorer answers each request it gets.

    Args:
        settings: where the broker is.
        letters: what to send, in this order.
        deletes: delete a letter once its record is acknowledged.
        on_progress: told how many were acknowledged so far.

    Raises:
        ConfigurationError: no broker answers, or a topic does not exist.
        StreamrecError: a record was not acknowledged; those before it were sent.
    """
    sent = 0
    with open_admin(settings) as admin:
        roles = {letter.role for letter in letters}
        partitions = {role: require_topic(admin, settings.topic(role)).partitions for role in roles}
    with _open_producer(settings, lambda: sent) as producer:
        for first in range(0, len(letters), LETTERS_AT_ONCE):
            chunk = letters[first : first + LETTERS_AT_ONCE]
            _wait([_send(producer, letter, partitions[letter.role]) for letter in chunk])
            sent += len(chunk)
            if deletes:
                _wait([_delete(producer, settings, letter) for letter in chunk])
            if on_progress is not None:
                on_progress(sent)
    return sent


def _decoders(settings: Settings) -> dict[LetterRole, Callable[[bytes], Any]]:
    def read_request(value: bytes) -> Any:
        try:
            return decode_request(value)
        except RequestError:
            return None  # it is answered with the error

    return {"ratings": make_rating_decoder(settings).decode, "requests": read_request}


@contextmanager
def _open_producer(settings: Settings, sent: Callable[[], int]) -> Iterator[Any]:
    producer = make_producer(settings)
    try:
        yield producer
    except KafkaError as error:
        raise StreamrecError(
            f"after {sent()} letters Kafka at {settings.bootstrap_servers} took no more: {error!r}; "
            "run it again, no rating is applied twice"
        ) from error
    finally:
        producer.close(timeout=ACKNOWLEDGE_TIMEOUT_S)


def _send(producer: Any, letter: Letter, partitions: int) -> Any:
    return producer.send(
        letter.topic,
        value=letter.value,
        key=letter.record_key,
        headers=[(REDRIVE_HEADER, letter.origin)],
        partition=letter.partition if letter.partition < partitions else None,
    )


def _delete(producer: Any, settings: Settings, letter: Letter) -> Any:
    topic = settings.topic("ratings.dlq" if letter.role == "ratings" else "requests.dlq")
    return producer.send(topic, key=letter.key.encode(), value=None, partition=letter.lies_in)


def _wait(futures: Sequence[Any]) -> None:
    for future in futures:
        future.get(timeout=ACKNOWLEDGE_TIMEOUT_S)
