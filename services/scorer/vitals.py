"""What a scorer knows of itself once a second: its numbers, and what keeps it from its work."""

import math
import time
from collections.abc import Callable
from typing import Protocol

from services.scorer import metrics
from services.scorer.ports import RequestSource
from streams.health import Health

EVERY_S = 1.0


class Loaded(Protocol):
    """What is asked of the scorer's loop.

    Attributes:
        acknowledged: answers and dead letters that the broker has acknowledged.
    """

    acknowledged: int

    @property
    def unanswered(self) -> int:
        """Requests taken whose answer the broker has not acknowledged, those that wait included."""

    @property
    def waiting(self) -> int:
        """Requests that wait for a state or for the store."""


class Vitals:
    """Noted by the loop between two steps, told to whoever asks.

    Args:
        scorer: the loop.
        inbox: where requests come from.
        health: told that the loop goes round.
        clock: seconds that only grow.
    """

    def __init__(
        self, scorer: Loaded, inbox: RequestSource, health: Health, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._scorer = scorer
        self._inbox = inbox
        self._health = health
        self._clock = clock
        self._noted_s = -float("inf")
        self._settled_s = clock()
        self._unsettled = 0
        self._acknowledged = 0
        self._fault = ""
        self._shown: set[str] = set()

    def note(self) -> None:
        """Note how things stand, unless that was done less than a second ago."""
        now_s = self._clock()
        if now_s - self._noted_s < EVERY_S:
            return
        self._noted_s = now_s
        self._health.beat()
        self._fault = self._inbox.fault()
        self._unsettled = self._scorer.unanswered - self._scorer.waiting
        if self._unsettled <= 0 or self._scorer.acknowledged != self._acknowledged:
            self._settled_s = now_s
        self._acknowledged = self._scorer.acknowledged
        metrics.WAITING.set(self._scorer.waiting)
        metrics.UNANSWERED.set(self._scorer.unanswered)
        self._show_lag()

    def faults(self) -> list[str]:
        """Return what keeps the scorer from its work."""
        unsettled_s = self._noted_s - self._settled_s
        faults = [self._fault] if self._fault else []
        if unsettled_s > self._health.stalled_after_s:
            faults.append(f"the broker has acknowledged none of {self._unsettled} answers for {unsettled_s:.1f} s")
        return faults

    def _show_lag(self) -> None:
        lags = {str(partition): lag for partition, lag in self._inbox.lag().items()}
        for partition, lag in lags.items():
            metrics.LAG.labels(partition).set(math.nan if lag is None else lag)
        for partition in self._shown - lags.keys():
            metrics.LAG.remove(partition)
        self._shown = set(lags)
