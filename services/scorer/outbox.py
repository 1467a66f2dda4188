"""What the scorer produces: answers and dead letters, and which of them the broker has acknowledged."""

from collections import deque
from typing import Any

from kafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.codec import encode
from schemas.errors import StreamrecError
from schemas.events import Recommendation
from services.scorer.intake import Place
from streams.bus.dead_letters import DeadLetter

MAX_ANSWER_BYTES = 900_000


class Outbox:
    """Sends, and remembers what was acknowledged; the producer's thread calls back, the scorer's takes.

    Args:
        producer: a blocking producer.
        answers: name of the topic of answers.
        letters: name of the topic of dead letters.
    """

    def __init__(self, producer: Any, answers: str, letters: str) -> None:
        self._producer = producer
        self._answers = answers
        self._letters = letters
        self._acknowledged: deque[Place] = deque()
        self._failures: deque[BaseException] = deque()

    def send_answer(self, place: Place, answer: Recommendation) -> None:
        """Send an answer under the key of its request.

        Raises:
            ValueError: it cannot be encoded, or is too large; nothing was sent.
            StreamrecError: the broker does not take it.
        """
        value = encode(answer)
        if len(value) > MAX_ANSWER_BYTES:
            raise ValueError(f"an answer may have {MAX_ANSWER_BYTES} bytes, got {len(value)}")
        headers = None if place.span is None else place.span.finish(answer)
        try:
            self._send(place, self._answers, place.key, value, headers)
        except MessageSizeTooLargeError:
            self._send(place, self._answers, answer.user_id.encode(), value, headers)

    def send_letter(self, place: Place, letter: DeadLetter) -> None:
        """Send a dead letter.

        Raises:
            StreamrecError: the broker does not take it.
        """
        if place.span is not None:
            place.span.refuse(letter)
        self._send(place, self._letters, letter.key, letter.value, letter.headers)

    def take_acknowledged(self) -> list[Place]:
        """Return the places whose answer or letter was acknowledged since the last call.

        Raises:
            StreamrecError: the broker refused one, or did not answer in the producer's time.
        """
        if self._failures:
            error = self._failures[0]
            raise StreamrecError(f"an answer could not be produced: {error!r}") from error
        taken = []
        while self._acknowledged:
            taken.append(self._acknowledged.popleft())
        return taken

    def flush(self, timeout_s: float) -> None:
        """Wait until everything sent is acknowledged or has failed.

        Raises:
            StreamrecError: that took longer than ``timeout_s``.
        """
        try:
            self._producer.flush(timeout=timeout_s)
        except KafkaError as error:
            raise StreamrecError(f"answers were not acknowledged within {timeout_s} s: {error!r}") from error

    def close(self, timeout_s: float) -> None:
        """End the producer."""
        self._producer.close(timeout=timeout_s)

    def _send(
        self, place: Place, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]] | None
    ) -> None:
        try:
            future = self._producer.send(topic, value=value, key=key, headers=headers)
        except MessageSizeTooLargeError:
            raise
        except KafkaError as error:
            raise StreamrecError(f"topic {topic!r} takes no record: {error!r}") from error
        future.add_callback(self._note_success, place)
        future.add_errback(self._failures.append)

    def _note_success(self, place: Place, _metadata: Any) -> None:
        self._acknowledged.append(place)
