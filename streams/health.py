"""Whether a process can do its work now, and what keeps it from that."""

import time
from collections.abc import Callable, Iterable

HUNG_S = 60.0
"""How long the main loop may be silent before the process counts as hung; a slow store holds a step for seconds."""

Check = Callable[[], Iterable[str]]
"""Returns what keeps the process from its work, a sentence each; none when nothing does."""


class Health:
    """What is known of a process; asked by the endpoint's thread, told by the others.

    Args:
        role: what the process is.
        stalled_after_s: how long its main loop may be silent before it counts as not ready.
        clock: seconds that only grow.

    >>> health = Health("worker", 10.0)
    >>> health.faults()
    ['starting']
    >>> health.begin("")
    >>> health.faults()
    []
    """

    def __init__(self, role: str, stalled_after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.role = role
        self.stalled_after_s = stalled_after_s
        self._clock = clock
        self._phase = "starting"
        self._beat_s: float | None = None
        self._checks: list[Check] = []

    def begin(self, phase: str) -> None:
        """Note what the process does instead of its work, as `loading the catalogue`; nothing when it is at work."""
        self._phase = phase

    def watch(self, check: Check) -> None:
        """Ask this too from now on."""
        self._checks.append(check)

    def beat(self) -> None:
        """Note that the main loop goes round."""
        self._beat_s = self._clock()

    @property
    def is_alive(self) -> bool:
        """Whether the main loop has gone round within :data:`HUNG_S`, or has not begun to."""
        return self._silence_s() <= HUNG_S

    def faults(self) -> list[str]:
        """Return what keeps the process from its work; empty when it is ready."""
        if self._phase:
            return [self._phase]
        silence_s = self._silence_s()
        faults = [f"the main loop is silent for {silence_s:.1f} s"] if silence_s > self.stalled_after_s else []
        for check in self._checks:
            faults += check()
        return faults

    def _silence_s(self) -> float:
        return 0.0 if self._beat_s is None else self._clock() - self._beat_s
