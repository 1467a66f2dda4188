"""``streamrec up``: a broker and a store for one machine, empty together, in the foreground."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import structlog

from schemas.errors import EngineError
from services.runtime.engines import start_broker, start_store
from services.runtime.supervise import Supervisor
from streams.settings import UP_FILE
from streams.signals import stop_on_signals

_LOCK = "up.lock"
_ENGINES = "up"

SUITED_TO_TANSU: dict[str, str | int] = {"fetch_wait_ms": 20, "session_timeout_s": 5, "topic_check_s": 0}
"""Tansu answers a waiting fetch, and lets a new group begin, only after about half of the first two. It goes on serving
a topic that was deleted and made again at the old offsets, so the worker asks for its id after every fetch."""

log = structlog.get_logger()


def run_up(
    directory: Path = UP_FILE.parent, *, kafka_home: Path | None = None, broker_port: int = 0, store_port: int = 0
) -> None:
    """Run broker and store until SIGTERM or SIGINT, and tell other commands where they are by ``up.toml``.

    Both begin empty: a store that knew the records of another broker would halt every worker.

    Args:
        directory: holds ``up.toml`` and, under ``up/``, the engines' files, which are deleted at the next start.
        kafka_home: an unpacked Apache Kafka distribution; None runs Tansu.
        broker_port: the broker's port; 0 picks a free one.
        store_port: the store's port; 0 picks a free one.

    Raises:
        EngineError: another ``up`` runs on this directory, an engine did not start, or it died.
    """
    directory.mkdir(parents=True, exist_ok=True)
    up_file = directory / UP_FILE.name
    engines = directory / _ENGINES
    with _only_one(directory / _LOCK), stop_on_signals() as stop, Supervisor(engines) as supervisor:
        shutil.rmtree(engines, ignore_errors=True)
        store = start_store(engines / "store", port=store_port)
        supervisor.adopt(store)
        broker = start_broker(engines / "broker", kafka_home=kafka_home, port=broker_port)
        supervisor.adopt(broker)
        try:
            told: dict[str, str | int] = {"bootstrap_servers": broker.url, "redis_url": store.url, "metrics_port": 0}
            if kafka_home is None:
                told |= SUITED_TO_TANSU
            _write_whole(up_file, _as_toml(told))
            log.info(
                "up.ready",
                settings=told,
                broker=broker.name,
                broker_pid=broker.pid,
                store_pid=store.pid,
                file=str(up_file),
            )
            supervisor.watch(until=stop)
        finally:
            up_file.unlink(missing_ok=True)
    log.info("up.stopped")


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock that goes with the process, however it ends; the file says whose it is."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise EngineError(
                f"`streamrec up` already runs here (process {file.read().strip()}, its servers are in "
                f"{path.with_name(UP_FILE.name)}): use it, or stop it first"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _as_toml(values: Mapping[str, str | int]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _write_whole(path: Path, text: str) -> None:
    """Write a file that no reader ever sees half."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)
