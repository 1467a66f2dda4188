"""Requests that wait for a state: the user's t (``min_t``), or a place in the ratings log (``min_position``)."""

from collections.abc import Mapping

from schemas.events import RecommendationRequest
from services.scorer.intake import Question
from streams.store.reader import ShardView

MAX_WAITING = 2000


def is_reached(request: RecommendationRequest, t: int, watermarks: Mapping[int, int]) -> bool:
    """Return whether the state is the one a request waits for.

    Args:
        request: the request.
        t: the user's rating events applied.
        watermarks: next offset of each partition, of the user's shard.
    """
    if request.min_t is not None and t < request.min_t:
        return False
    position = request.min_position
    return position is None or watermarks.get(position.partition, 0) > position.offset


class WaitingRoom:
    """Questions whose state was not reached when last looked at, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Question] = []
        self._seen: dict[int, dict[int, int]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether no more are taken in."""
        return len(self._waiting) >= MAX_WAITING

    def add(self, question: Question) -> None:
        """Take a question in."""
        question.has_waited = True
        self._waiting.append(question)

    def take_due(self, views: Mapping[int, ShardView], now_ms: float) -> list[Question]:
        """Take out what is worth another look: all when a watermark has moved, else only what has expired."""
        marks = {shard: view.watermarks for shard, view in views.items()}
        if marks != self._seen:
            self._seen = marks
            due, self._waiting = self._waiting, []
            return due
        due = [question for question in self._waiting if question.is_expired(now_ms)]
        if due:
            self._waiting = [question for question in self._waiting if not question.is_expired(now_ms)]
        return due

    def drop(self, partition: int) -> None:
        """Forget the questions of a partition of ``requests``."""
        self._waiting = [question for question in self._waiting if question.place.partition != partition]
