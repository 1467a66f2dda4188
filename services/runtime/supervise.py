"""Run our own commands as children: ready when their log says so, watched, and ended together."""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from schemas.errors import EngineError
from services.runtime.process import Process

_POLL_S = 0.02
_WATCH_S = 0.2


class Supervised(Protocol):
    """What a supervisor watches and ends: its own children, and engines given to it."""

    def check(self) -> None:
        """Raise :class:`EngineError` when it died by itself."""

    def terminate(self) -> None:
        """Ask it to end, and return at once."""

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it: SIGTERM, and SIGKILL after ``timeout_s``."""


class Child:
    """One command run as a process; made by :class:`Supervisor`.

    Attributes:
        name: what messages call it.
        log_path: its output; JSON lines, a restart appends.
    """

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str], log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._argv = list(argv)
        self._environment = dict(environment)
        self._is_stopped = False
        self._process = self._launch()

    @property
    def pid(self) -> int:
        """Its process id, and its group's."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    def events(self) -> list[dict[str, Any]]:
        """Return the events this run has logged so far; lines that are no JSON object are passed over."""
        return self._events_from(self._process.log_start)[0]

    def wait_for_event(self, name: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Return the first event of this name that this run logs.

        Raises:
            EngineError: the child ended, or did not log it in time; with the log's path and last lines.
        """
        deadline = time.monotonic() + timeout_s
        position = self._process.log_start
        while True:
            has_ended = self._process.wait(_POLL_S)
            events, position = self._events_from(position)
            for event in events:
                if event.get("event") == name:
                    return event
            if has_ended:
                raise EngineError(f"no {name}: {self._process.describe_end()}")
            if time.monotonic() > deadline:
                raise EngineError(f"no {name} within {timeout_s:g} s: {self._process.describe_end()}")

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the child to end and return its exit code; None when it still runs after ``timeout_s``."""
        self._process.wait(timeout_s)
        return self._process.returncode

    def check(self) -> None:
        """Raise when the child ended without being asked to.

        Raises:
            EngineError: with the exit code, the log's path and its last lines.
        """
        if not self._is_stopped and self.returncode is not None:
            raise EngineError(self._process.describe_end())

    def terminate(self) -> None:
        """Ask the child to end, and return at once."""
        self._is_stopped = True
        self._process.terminate()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the child and all it started: SIGTERM, and SIGKILL after ``timeout_s``."""
        self._is_stopped = True
        self._process.stop(timeout_s)

    def kill(self) -> None:
        """End the child with SIGKILL, as a crash would; :meth:`check` reports it until it is restarted."""
        self._process.kill()

    def restart(self) -> None:
        """Run the same command again, ending it first where it still runs; does not wait for its ready event."""
        self.stop()
        self._process = self._launch()
        self._is_stopped = False

    def _events_from(self, position: int) -> tuple[list[dict[str, Any]], int]:
        """Return the events of the whole lines after ``position``, and where those lines end."""
        with self.log_path.open("rb") as log:
            log.seek(position)
            text = log.read()
        end = text.rfind(b"\n") + 1
        parsed = (_parse(line) for line in text[:end].splitlines())
        return [event for event in parsed if event is not None], position + end

    def _launch(self) -> Process:
        return Process(self.name, self._argv, log_path=self.log_path, environment=self._environment)


class Supervisor:
    """Starts children, watches them, and ends them all, newest first; use it as a context manager.

    Args:
        directory: where their logs go, ``<name>.log`` each.
        environment: variables every child gets beside ours.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._children: dict[str, Child] = {}
        self._adopted: list[Supervised] = []

    def adopt(self, engine: Supervised) -> None:
        """Watch and end something started elsewhere, too; adopted ones are ended after all children."""
        self._adopted.append(engine)

    def launch(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
        """Start a command and return at once.

        Raises:
            ValueError: a child of this name was started before.
            EngineError: the command cannot be run.
        """
        if name in self._children:
            raise ValueError(f"a child named {name} was started before; restart that one")
        child = Child(name, argv, {**self._environment, **(environment or {})}, self._directory / f"{name}.log")
        self._children[name] = child
        return child

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        ready: str,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> Child:
        """Start a command and wait until it logs the event ``ready``, such as ``worker.ready``.

        Raises:
            ValueError: a child of this name was started before.
            EngineError: the command ended, or was not ready in time; it has been ended.
        """
        child = self.launch(name, argv, environment)
        try:
            child.wait_for_event(ready, timeout_s)
        except BaseException:
            child.stop(timeout_s=1.0)
            raise
        return child

    def check(self) -> None:
        """Raise when one of the children or adopted engines died by itself.

        Raises:
            EngineError: with the exit code, the log's path and its last lines.
        """
        for one in self._all():
            one.check()

    def watch(self, until: threading.Event, on_death: Callable[[EngineError], None] | None = None) -> None:
        """Block until ``until`` is set or something dies by itself.

        Args:
            until: ends the watch.
            on_death: called with what :meth:`check` raises, instead of raising it; then the watch ends.

        Raises:
            EngineError: something died, and there is no ``on_death``.
        """
        while not until.wait(_WATCH_S):
            try:
                self.check()
            except EngineError as error:
                if on_death is None:
                    raise
                on_death(error)
                return

    def stop(self, timeout_s: float = 10.0) -> None:
        """End all children at once, then what was adopted; whoever is left after ``timeout_s`` is killed."""
        deadline = time.monotonic() + timeout_s
        for group in ([*self._children.values()], self._adopted):
            for one in group:
                one.terminate()
            for one in reversed(group):
                one.stop(max(0.1, deadline - time.monotonic()))

    def _all(self) -> list[Supervised]:
        return [*self._adopted, *self._children.values()]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
