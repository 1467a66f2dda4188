"""What the tests of this folder ask about processes."""

import os
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[3]


def is_running(pid: int) -> bool:
    """A process that has ended but that nobody has waited for yet counts as gone."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def with_our_packages(environment: dict[str, str] | None = None) -> dict[str, str]:
    """The environment given, or this process's, in which a Python finds this repository."""
    return {**(os.environ if environment is None else environment), "PYTHONPATH": str(ROOT)}
