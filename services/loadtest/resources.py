"""Memory and processor time of processes over time."""

import math
import time
from collections.abc import Callable, Mapping

import psutil

MIB = 1024 * 1024


class Resources:
    """Samples processes, their children not included.

    Args:
        pids: process id by name.
        clock: seconds from any origin.

    Attributes:
        at_s: when each sample was taken, in the clock's seconds.
        rss_mb: resident memory in MiB by name, a value a sample; NaN where the process was gone.
        cores: cores used since the sample before, likewise; the first is since the watch began.
    """

    def __init__(self, pids: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._processes = {name: _find(pid) for name, pid in pids.items()}
        self._before_s = clock()
        self._busy_s = {name: _busy_s(process) for name, process in self._processes.items()}
        self.at_s: list[float] = []
        self.rss_mb: dict[str, list[float]] = {name: [] for name in pids}
        self.cores: dict[str, list[float]] = {name: [] for name in pids}

    def sample(self) -> None:
        """Take one sample of each."""
        now = self._clock()
        passed_s = max(now - self._before_s, 1e-9)
        for name, process in self._processes.items():
            busy_s, rss_mb = _busy_s(process), _rss_mb(process)
            self.cores[name].append((busy_s - self._busy_s[name]) / passed_s if not math.isnan(rss_mb) else math.nan)
            self._busy_s[name] = busy_s
            self.rss_mb[name].append(rss_mb)
        self.at_s.append(now)
        self._before_s = now


def _find(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _busy_s(process: psutil.Process | None) -> float:
    try:
        times = process.cpu_times() if process is not None else None
    except psutil.Error:
        times = None
    return math.nan if times is None else float(times.user + times.system)


def _rss_mb(process: psutil.Process | None) -> float:
    """Return its memory; one that has ended and is not collected yet has none."""
    try:
        rss = 0 if process is None else process.memory_info().rss
    except psutil.Error:
        rss = 0
    return rss / MIB if rss else math.nan
