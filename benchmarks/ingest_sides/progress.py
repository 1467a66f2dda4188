"""What a side tells its parent, when its first and its last event were done, and how the parent tells it to go on.

Standard library only: sides in an environment of their own import it too.
"""

import json
import signal
import time

GROUP_SESSION_MS = 2000
"""Session of the consumer groups of other sides: the embedded broker lets a group begin after half of it."""
GROUP_HEARTBEAT_MS = 500
GO = signal.SIGUSR1


class Progress:
    """Counts what a side has done, and prints one line of JSON at the first event and one at the last.

    The rate is of the events after the first call, over the time since then: starting up is left out. A side that does
    events long after it got them says when it got the first.

    Args:
        events: how many the side shall do.
    """

    def __init__(self, events: int) -> None:
        self._events = events
        self._done = 0
        self._first = 0
        self._began = 0.0
        self.is_over = False

    def begin(self, done: int = 0) -> None:
        """Start the clock, the first time only, when so many events are done."""
        if not self._began:
            self._began, self._first = time.perf_counter(), done
            say("side.began")

    def add(self, done: int = 1) -> None:
        """Count events that are done."""
        self.begin(done)
        self._done += done
        if self._done >= self._events and not self.is_over:
            self.is_over = True
            say("side.done", rate=(self._done - self._first) / (time.perf_counter() - self._began), events=self._done)


def hold_signals() -> None:
    """Let :func:`wait_to_go` take the parent's signal, also one that comes early; call it before any thread starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {GO})


def wait_to_go() -> None:
    """Return once the parent says so."""
    signal.sigwait({GO})


def say(event: str, **values: float) -> None:
    """Print an event as one line of JSON."""
    print("\n" + json.dumps({"event": event, **values}), flush=True)  # Faust leaves a line begun
