"""Ours: `streamrec worker` as an operator runs it, watched by its watermarks."""

import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from benchmarks.ingest_sides.log import PARTITIONS, LoggedRecord, fill_topic, read_log, read_records
from benchmarks.ingest_sides.stage import READY_TIMEOUT_S, RUN_TIMEOUT_S, Run, Stage, wait_until
from schemas.errors import EngineError
from services.admin.bus import open_admin
from services.admin.digest import state_digest
from services.lab.digest import Digest, expected_digest
from services.runtime.supervise import Child
from streams.bus.topics import create_topics, require_topic
from streams.settings import Settings
from streams.store.clients import make_client
from streams.store.reader import StateReader, merge_watermarks

WORKER = (sys.executable, "-m", "services.cli.main", "worker")


class Watch:
    """Sees how far the watermarks of a namespace are."""

    def __init__(self, settings: Settings, topic_id: str) -> None:
        self._client = make_client(settings)
        self._topic_id = topic_id
        self._reader = StateReader(self._client, settings.namespace, 1, topic_id, PARTITIONS)

    def keys(self) -> list[str]:
        """Return the keys of the watermarks, by partition."""
        return [self._reader.keys(0).watermark(self._topic_id, partition) for partition in range(PARTITIONS)]

    def marks(self) -> dict[int, int]:
        """Return the watermark of each partition that has one."""
        return merge_watermarks(self._reader.read([], all_shards=True).shards)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def run_ours(stage: Stage) -> Run:
    """Run one worker over the whole log, and check the state against the log at the end."""
    stage.empty_store()
    settings = stage.make_settings(f"ours-{uuid.uuid4().hex[:6]}")
    watch = Watch(settings, stage.topic.topic_id)
    with stage.child(settings.namespace, WORKER, settings) as worker:
        run = _measure(stage, [worker], watch, stage.events)
    watch.close()
    _check(stage, settings, stage.events)
    return run


def run_workers(stage: Stage, workers: int) -> Run:
    """Run workers side by side over half of the log, on a topic of their own, filled before any of them goes on.

    They join the group on an empty topic, are held by SIGSTOP while it is filled, and let go together.
    """
    stage.empty_store()
    events = stage.events // 2
    unique = uuid.uuid4().hex[:6]
    settings = stage.make_settings(f"ours-{unique}", topic_ratings=f"bench.{unique}.ratings")
    with open_admin(settings) as admin:
        create_topics(admin, settings)
        topic = require_topic(admin, settings.topic("ratings"))
    watch = Watch(settings, topic.topic_id)
    with ExitStack() as stack:
        names = [f"{settings.namespace}-{number}" for number in range(workers)]
        children = [stack.enter_context(stage.child(name, WORKER, settings)) for name in names]
        for child in children:
            child.wait_for_event("worker.ready", READY_TIMEOUT_S)
        wait_until(lambda: len(watch.marks()) == PARTITIONS, READY_TIMEOUT_S, "every partition is claimed")
        records = _records(stage.log_path, events)
        for child in children:
            os.killpg(child.pid, signal.SIGSTOP)
        try:
            fill_topic(stage.broker.url, topic.name, records)
        finally:
            for child in children:
                os.killpg(child.pid, signal.SIGCONT)
        run = _measure(stage, children, watch, events)
    watch.close()
    _check(stage, settings, events)
    return run


def _measure(stage: Stage, workers: Sequence[Child], watch: Watch, events: int) -> Run:
    wait_until(lambda: sum(watch.marks().values()) > 0, READY_TIMEOUT_S, "the first ratings are applied")
    began, first = time.perf_counter(), sum(watch.marks().values())
    measured = stage.cores_used(side=workers)

    def is_done() -> bool:
        stage.supervisor.check()
        return sum(watch.marks().values()) >= events

    wait_until(is_done, RUN_TIMEOUT_S, f"{events} ratings are applied")
    return Run((events - first) / (time.perf_counter() - began), measured())


def _check(stage: Stage, settings: Settings, events: int) -> None:
    """Refuse a state that is not what the first ``events`` ratings of the log say.

    Raises:
        EngineError: naming both.
    """
    with make_client(settings) as client:
        found = state_digest(client, settings, stage.item_ids)
    expected = _expected(stage.log_path, events)
    if (found.state, found.statistics) != (expected.state, expected.statistics):
        raise EngineError(f"the state is {found}, the log says {expected}")


@cache
def _expected(log_path: Path, events: int) -> Digest:
    return expected_digest(read_log(log_path, events))


@cache
def _records(log_path: Path, events: int) -> list[list[LoggedRecord]]:
    return read_records(log_path, PARTITIONS, events)
