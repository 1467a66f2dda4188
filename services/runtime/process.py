"""A program run as a process of its own: output to a file, its whole group stopped, killed when we die."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from schemas.errors import EngineError
from services.runtime.keeper import Keeper

_keeper = Keeper()


class Process:
    """A running program.

    Args:
        name: what messages call it.
        argv: the program and its arguments.
        log_path: output and errors are appended to this file.
        environment: the program's whole environment.
        directory: its working directory; None for ours.

    Raises:
        EngineError: the program cannot be run at all.

    Attributes:
        pid: the process's id, and its group's.
        log_start: size of the log file when this run began, in bytes.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str],
        directory: Path | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            self.log_start = log.tell()
            try:
                self._popen = subprocess.Popen(  # noqa: S603 - the caller names the program
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    cwd=directory,
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineError(f"{name} cannot be started as {argv[0]}: {error}") from error
        self.pid = self._popen.pid
        self._is_over = False
        self._is_asked = False
        _keeper.add(self.pid)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        code = self._popen.poll()
        if code is not None:
            self._finish()
        return code

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process to end; return whether it has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_s)
        return self.returncode is not None

    def terminate(self) -> None:
        """Ask the whole group to end, once, and return: a second SIGTERM meets Python's default while it shuts down."""
        if not self._is_asked:
            self._is_asked = True
            self._signal(signal.SIGTERM)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask the whole group to end, then kill what is left of it after ``timeout_s``."""
        if self.returncode is None:
            self.terminate()
            self.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """Kill the whole group and wait until the process is gone."""
        self._signal(signal.SIGKILL)
        self._popen.wait()
        self._finish()

    def _finish(self) -> None:
        """Kill what the process left behind, once: later its number may be some other group's."""
        self._signal(signal.SIGKILL)
        if not self._is_over:
            self._is_over = True
            _keeper.discard(self.pid)

    def _signal(self, number: int) -> None:
        if not self._is_over:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def describe_end(self) -> str:
        """Return a sentence on how the process ended, with the log's path and its last lines."""
        code = self.returncode
        if code is None:
            how = "is running"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        return f"{self.name} {how}; its log is {self.log_path.resolve()}{self.last_lines()}"

    def last_lines(self, lines: int = 12) -> str:
        """Return the last lines this run logged, indented, each after a line break; empty when there are none."""
        text = self.log_text(limit=16_384)
        return "".join(f"\n    {line}" for line in text.splitlines()[-lines:])

    def log_text(self, limit: int) -> str:
        """Return at most the last ``limit`` bytes that this run logged."""
        with self.log_path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self.log_start, end - limit))
            return log.read().decode(errors="replace")
