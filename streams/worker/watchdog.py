"""Ends a worker whose event loop hangs: its heartbeats come from another thread, so the group would never notice."""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import NoReturn

import structlog

log = structlog.get_logger(__name__)

HUNG_EXIT_CODE = 1
TICK_S = 1.0


def end_process() -> NoReturn:
    """End this process at once: a loop that hangs runs no clean-up."""
    os._exit(HUNG_EXIT_CODE)


class Watchdog:
    """A thread that calls a loop every tick, and ends the process when none of ``most`` calls in a row was answered.

    Ticks are counted, not seconds: a process that was stopped and continued as a whole is not hung.

    Args:
        loop: the loop that must answer.
        most: calls that may go unanswered.
        tick_s: seconds between calls.
        on_hang: called in the thread once the loop hangs.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        most: int,
        *,
        tick_s: float = TICK_S,
        on_hang: Callable[[], object] = end_process,
    ) -> None:
        self._loop = loop
        self._most = most
        self._tick_s = tick_s
        self._on_hang = on_hang
        self._unanswered = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopping.set()

    def _answer(self) -> None:
        self._unanswered = 0

    def _watch(self) -> None:
        while not self._stopping.wait(self._tick_s):
            if self._unanswered >= self._most:
                log.critical("worker.hung", unanswered=self._unanswered, tick_s=self._tick_s)
                self._on_hang()
                return
            self._unanswered += 1
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the loop is closed
                return
