"""Signals that ask a process to end, as an event its threads can wait for."""

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set, however often they come; the old handlers come back at the end.

    A handler must not set the event itself: it may run while this very thread, or an earlier handler, holds the
    event's lock. The interpreter writes the signal's number to a socket instead, and a thread reads it.

    Raises:
        ValueError: this is not the main thread.
    """
    stop = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def wait_for_signals() -> None:
        while numbers := reader.recv(64):
            if any(number in STOP_SIGNALS for number in numbers):
                stop.set()

    thread = threading.Thread(target=wait_for_signals, name="signals", daemon=True)
    handlers = {number: signal.signal(number, lambda *_: None) for number in STOP_SIGNALS}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writer.close()
        thread.join()
        reader.close()


@contextlib.contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, all its children with it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = None
    with contextlib.suppress(ValueError):  # not the main thread: a test's affair
        before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
