"""The processes of a load test: made ready together, told to go at one moment, watched, and ended together.

A member gets a :class:`Channel`. When the other end closes, however we died, the member ends by itself.
"""

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from schemas.errors import StreamrecError

READY_TIMEOUT_S = 60.0
END_TIMEOUT_S = 10.0
LEAD_S = 0.3
"""Between telling everybody when to start, and the start."""

Told = dict[str, Any]


class Channel:
    """A member's line to whoever leads the run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def wait_to_go(self) -> float:
        """Say that all is ready, and return the start of the run on the monotonic clock."""
        self._connection.send(("ready", {}))
        start: float = self._connection.recv()
        return start

    def tell(self, **progress: Any) -> None:
        """Say how far it is."""
        self._connection.send(("progress", progress))

    def is_told_to_end(self) -> bool:
        """Return whether the leader wants an end.

        Raises:
            EOFError: the leader is gone.
        """
        if not self._connection.poll():
            return False
        self._connection.recv()
        return True

    def finish(self, **result: Any) -> None:
        """Say that it is done."""
        self._connection.send(("done", result))


class Member:
    """One process, and what it told so far.

    Attributes:
        name: what messages and reports call it.
        is_ready: whether it waits to be told to go.
        is_done: whether it has finished.
        progress: the newest it told.
    """

    def __init__(self, name: str, work: Callable[[Channel, Any], None], task: Any) -> None:
        self.name = name
        self.is_ready = False
        self.is_done = False
        self.progress: Told = {}
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(work, task, theirs), name=name, daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def listen(self) -> None:
        """Take in what it told.

        Raises:
            StreamrecError: it failed, or ended before it was done.
        """
        try:
            while self.connection.poll():
                self._take(*self.connection.recv())
        except (EOFError, ConnectionResetError):
            if not self.is_done:
                self._process.join(END_TIMEOUT_S)
                code = self._process.exitcode
                raise StreamrecError(f"the load test's {self.name} ended with exit code {code}") from None

    def _take(self, kind: str, told: Told) -> None:
        if kind == "failed":
            raise StreamrecError(f"the load test's {self.name} failed:\n{told['why']}")
        self.is_ready |= kind == "ready"
        self.is_done |= kind == "done"
        self.progress |= told

    def end(self, timeout_s: float) -> None:
        """Close the line and wait for the process; kill it where it stays."""
        self.connection.close()
        self._process.join(timeout_s)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()


class Crew:
    """Members of a run; a context manager that leaves none behind."""

    def __init__(self) -> None:
        self.members: list[Member] = []

    def add(self, name: str, work: Callable[[Channel, Any], None], task: Any) -> Member:
        """Start a process that runs ``work(channel, task)``."""
        self.members.append(Member(name, work, task))
        return self.members[-1]

    def go(self) -> float:
        """Wait until all are ready, name a start a little ahead, tell it to all, and return it.

        Raises:
            StreamrecError: one failed, or was not ready in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not all(member.is_ready for member in self.members):
            if time.monotonic() > deadline:
                late = ", ".join(member.name for member in self.members if not member.is_ready)
                raise StreamrecError(f"not ready within {READY_TIMEOUT_S:g} s: {late}")
            self.listen()
            time.sleep(0.01)
        start = time.monotonic() + LEAD_S
        for member in self.members:
            member.connection.send(start)
        return start

    def listen(self) -> None:
        """Take in what everybody told.

        Raises:
            StreamrecError: one failed.
        """
        for member in self.members:
            member.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            member.end(END_TIMEOUT_S)


def _run(work: Callable[[Channel, Any], None], task: Any, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the leader ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        work(Channel(connection), task)
    except (EOFError, ConnectionError):  # the leader is gone
        return
    except BaseException:  # noqa: BLE001 - told to the leader, which raises it
        connection.send(("failed", {"why": traceback.format_exc()}))
