"""Wait for a condition with a deadline; tests never sleep."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

_POLL_S = 0.02

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout_s: float = 20.0, message: str = "") -> T:
    """Return the first true value of ``condition``; fail when there is none within ``timeout_s``."""
    pause = threading.Event()
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {message or condition!r}; last value {value!r}")
        pause.wait(_POLL_S)
