"""Kill what a process started as soon as that process is gone, however it went.

Run as a script of its own, this reads lines ``+<group>`` and ``-<group>`` from standard input and, when the pipe
closes, kills every process group still on its list. The pipe closes by itself when the parent dies, also by SIGKILL, on
Linux and macOS alike; Linux's parent-death signal is tied to the *thread* that started the child, and macOS has none.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable


class Keeper:
    """The watcher of this process; it is started with the first group and shared by all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._watcher: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def add(self, group: int) -> None:
        """Have a process group killed when this process ends."""
        with self._lock:
            self._groups.add(group)
            self._tell(f"+{group}\n")

    def discard(self, group: int) -> None:
        """Take a group that has ended off the list, so that its number may be used again."""
        with self._lock:
            self._groups.discard(group)
            self._tell(f"-{group}\n")

    def close(self) -> None:
        """Kill every group still on the list and end the watcher."""
        with self._lock:
            if self._watcher is None:
                return
            self._hang_up()
            self._watcher.wait()
            self._watcher = None

    def _hang_up(self) -> None:
        if self._watcher is not None and self._watcher.stdin is not None:
            with contextlib.suppress(OSError):
                self._watcher.stdin.close()

    def _tell(self, line: str) -> None:
        if self._watcher is not None and _write(self._watcher, line):
            return
        self._hang_up()
        self._watcher = _start_watcher()
        _write(self._watcher, "".join(f"+{group}\n" for group in self._groups))

    def _forget(self) -> None:
        """Let go of the pipe in a forked child, or it would outlive the parent there."""
        self._lock = threading.Lock()
        self._hang_up()
        self._watcher = None
        self._groups = set()


def _start_watcher() -> subprocess.Popen[bytes]:
    """Start this file as a script, in its own session so that no Ctrl-C reaches it, with an unbuffered pipe."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )


def _write(watcher: subprocess.Popen[bytes], text: str) -> bool:
    """Send lines to a watcher; return whether it still reads them."""
    assert watcher.stdin is not None
    try:
        watcher.stdin.write(text.encode())
    except BrokenPipeError:
        return False
    return True


def watch(lines: Iterable[str]) -> None:
    """Keep the list that ``lines`` spell out and kill what is on it when they end."""
    groups: set[int] = set()
    for line in lines:
        change, group = line[0], int(line[1:])
        (groups.add if change == "+" else groups.discard)(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    watch(sys.stdin)
