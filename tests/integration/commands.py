"""The command ``streamrec`` as a shell runs it: in a directory of its own, with no exports but those given."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from services.runtime.supervise import Child, Supervisor
from tests.integration.system import ROOT

PROGRAM = (sys.executable, "-m", "services.cli.main")
TIMEOUT_S = 120.0
_IN_DIRECTORY = ("/bin/sh", "-c", 'cd "$0" && exec "$@"')


class Shells:
    """Any number of shells in one directory.

    Args:
        directory: where they are.
        supervisor: ends what runs in the foreground of a shell.
        exports: variables beside ours.
    """

    def __init__(self, directory: Path, supervisor: Supervisor, exports: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._supervisor = supervisor
        kept = {name: value for name, value in os.environ.items() if name != "KAFKA_HOME"}
        self._environment = {**kept, "PYTHONPATH": str(ROOT), **(exports or {})}

    def run(self, *arguments: str, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def say(self, *arguments: str) -> str:
        """Run a command that must succeed, and return what it wrote to standard output."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def launch(self, *arguments: str) -> Child:
        """Start a command that runs until it is told to end."""
        argv = [*_IN_DIRECTORY, str(self.directory), *PROGRAM, *arguments]
        return self._supervisor.launch(arguments[0], argv, self._environment)


def processes_in(directory: Path) -> list[psutil.Process]:
    """Return the live processes that work in a directory or below it."""
    found = []
    for process in psutil.process_iter(["cwd", "status"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(directory) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
