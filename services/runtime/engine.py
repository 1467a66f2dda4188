"""An embedded server: started, asked who it is, stopped, killed, restarted."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from schemas.errors import EngineError
from services.runtime.ports import HOST, free_ports
from services.runtime.process import Process

_START_ATTEMPTS = 5
_POLL_S = 0.01
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "JAVA_HOME")


@dataclass(frozen=True, slots=True)
class Command:
    """How to run a server.

    Attributes:
        argv: program and arguments.
        environment: what the server gets beside :func:`plain_environment`.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]


class Server(Protocol):
    """What differs from one embedded server to the next.

    Attributes:
        name: what messages call it.
        directory: where it keeps its files; also its working directory.
        ready_timeout_s: how long it may take until it answers.
        url_format: the address clients are given, with ``{address}`` in it.
    """

    name: str
    directory: Path
    ready_timeout_s: float
    url_format: str

    def prepare(self, port: int) -> Command:
        """Write what the server reads at its start, and return how to run it on ``port``."""

    def answers(self, port: int, pid: int) -> bool:
        """Return whether the process ``pid``, and not some other program on its port, answers requests."""


class Engine:
    """A running embedded server; use it as a context manager or call :meth:`stop`.

    Args:
        server: which server.
        port: the port on 127.0.0.1; 0 picks a free one.

    Raises:
        EngineError: the server did not start.

    Attributes:
        name: what messages call it.
        directory: where its files are.
        log_path: its log.
        port: the port it listens on; a restart keeps it.
        start_s: seconds from the last start until it answered.
    """

    def __init__(self, server: Server, port: int = 0) -> None:
        self._server = server
        self.name = server.name
        self.directory = server.directory
        self.log_path = server.directory / f"{server.name}.log"
        self.port = port
        self.start_s = 0.0
        self._is_stopped = False
        server.directory.mkdir(parents=True, exist_ok=True)
        self._process = self._start()

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """What clients connect with: a broker's bootstrap servers, a store's URL."""
        return self._server.url_format.format(address=self.address)

    @property
    def pid(self) -> int:
        """The server's process id, and its group's."""
        return self._process.pid

    def check(self) -> None:
        """Raise when the server died by itself.

        Raises:
            EngineError: with how it ended and the last lines of its log.
        """
        if not self._is_stopped and self._process.returncode is not None:
            raise EngineError(self._process.describe_end())

    def terminate(self) -> None:
        """Ask the server to end, and return at once."""
        self._is_stopped = True
        self._process.terminate()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server: SIGTERM, and SIGKILL after ``timeout_s``."""
        self._is_stopped = True
        self._process.stop(timeout_s)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; :meth:`check` reports it."""
        self._process.kill()

    def restart(self) -> None:
        """Start the server again on its port and directory, ending it first where it still runs.

        Raises:
            EngineError: the server did not start.
        """
        self.stop()
        self._process = self._start()
        self._is_stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> Process:
        began = time.monotonic()
        if self.port:
            process = self._run()
            if process is None:
                raise EngineError(f"{self.name} cannot listen on {self.address}: another program does")
        else:
            process = self._start_on_a_free_port()
        self.start_s = time.monotonic() - began
        return process

    def _start_on_a_free_port(self) -> Process:
        for _ in range(_START_ATTEMPTS):
            (self.port,) = free_ports(1)
            process = self._run()
            if process is not None:
                return process
        raise EngineError(f"{self.name} found every port it tried taken by another program, {_START_ATTEMPTS} times")

    def _run(self) -> Process | None:
        """Run the server until it answers; None when it lost its port to another program."""
        command = self._server.prepare(self.port)
        process = Process(
            self.name,
            command.argv,
            log_path=self.log_path,
            environment={**plain_environment(), **command.environment},
            directory=self.directory,
        )
        try:
            return self._wait_until_it_answers(process)
        except BaseException:
            process.kill()
            raise

    def _wait_until_it_answers(self, process: Process) -> Process | None:
        deadline = time.monotonic() + self._server.ready_timeout_s
        while not process.wait(_POLL_S):
            if self._server.answers(self.port, process.pid):
                return process
            if time.monotonic() > deadline:
                raise EngineError(
                    f"{self.name} did not answer on {self.address} within {self._server.ready_timeout_s:g} s; "
                    f"its log is {self.log_path.resolve()}{process.last_lines()}"
                )
        process.kill()
        if _lost_its_port(process.log_text(limit=16_384)):
            return None
        raise EngineError(f"it did not start: {process.describe_end()}")


def plain_environment() -> dict[str, str]:
    """Return the few variables a server needs, so that others of ours (LISTENER_URL, LANG, proxies) change nothing."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _lost_its_port(log: str) -> bool:
    return any(sign in log for sign in ("AddrInUse", "Address already in use", "Address in use"))
