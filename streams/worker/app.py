"""The worker: a Faust app around the partition runners, and its life from start to exit code."""

import asyncio
import gc
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
import structlog
from aiokafka.errors import MessageSizeTooLargeError
from faust.exceptions import ProducerSendError
from kafka.errors import KafkaError
from yarl import URL

from schemas.errors import BusUnavailable, Halt, StreamrecError, TopicReplaced
from streams.bus.clients import make_admin
from streams.bus.dead_letters import DeadLetter
from streams.bus.topics import describe_topics, require_topic
from streams.catalogue import LiveCatalogue
from streams.endpoint import serve_endpoint
from streams.health import Health
from streams.ratings import make_rating_decoder
from streams.settings import Settings
from streams.store.clients import make_async_client
from streams.store.probe import open_probe
from streams.store.writer import StateWriter
from streams.tracing import Spans, open_tracing
from streams.worker import metrics
from streams.worker.apply import Applied, BatchApplier
from streams.worker.claim import Claimer
from streams.worker.idle import IdleFolder
from streams.worker.progress import Progress
from streams.worker.runner import PartitionRunner
from streams.worker.session import Session
from streams.worker.topic_guard import TopicGuard
from streams.worker.transport import WorkerConsumer, WorkerTransport
from streams.worker.watchdog import Watchdog

log = structlog.get_logger(__name__)

HALT_EXIT_CODE = 3
FAILURE_EXIT_CODE = 1
TOPIC_CHECK_S = 10.0
SWITCH_INTERVAL_S = 0.0005
"""Fetching has a thread of its own, which would wait Python's 5 ms for its turn while a batch is folded."""
SERVICE_CHECK_S = 1.0
MIN_HANG_S = 5.0
STOP_TIMEOUT_S = 8.0
EXIT_TIMEOUT_S = 1.5
CATALOGUE_TIMEOUT_S = 60.0
COLLECT_AFTER = 100_000


def make_app(settings: Settings, data_dir: str) -> faust.App:
    """Return the Faust app: raw bytes, no tables, no leader topic, no topics of its own making."""
    app = faust.App(
        settings.group_worker,
        broker=[URL(f"kafka://{server.strip()}") for server in settings.bootstrap_servers.split(",")],
        datadir=data_dir,
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 4,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_request_timeout=max(20.0, settings.session_timeout_s + 1),
        broker_commit_interval=1.0,
    )
    app.topics.add(app.topic(settings.topic("ratings"), key_serializer="raw", value_serializer="raw"))
    return app


class Worker:
    """One worker process.

    Args:
        settings: everything from outside.
        health: told what the process does.
        spans: told of each batch; None where nothing is traced.
        start_ms: where partitions that nothing is known of start; None for the start of the log.
        accepted_topic_id: id of a ratings topic made again that the state shall go on with.
        resumes: close dead-letter breakers that are open.
        rebuilds: rebuild from the log's start when the store was emptied, as the setting ``rebuild_on_empty`` says.
    """

    def __init__(
        self,
        settings: Settings,
        health: Health,
        spans: Spans | None = None,
        *,
        start_ms: int | None = None,
        accepted_topic_id: str | None = None,
        resumes: bool = False,
        rebuilds: bool = False,
    ) -> None:
        self._settings = settings
        self._health = health
        self._spans = spans
        self._progress = Progress(settings.stalled_after_s)
        self._topic = settings.topic("ratings")
        self._start_ms = start_ms
        self._accepted_topic_id = accepted_topic_id
        self._resumes = resumes
        self._rebuilds = rebuilds or settings.rebuild_on_empty
        self._stopping = asyncio.Event()
        self._guard = TopicGuard(self._topic, self._topic_id, settings.topic_check_s)
        self._failure: BaseException | None = None
        self._bus = ThreadPoolExecutor(1, thread_name_prefix="admin")

    async def run(self) -> int:
        """Work until SIGTERM, SIGINT or a failure; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._health.begin("connecting to the broker")
        self._admin = await loop.run_in_executor(self._bus, make_admin, self._settings)
        topic = await loop.run_in_executor(self._bus, require_topic, self._admin, self._topic)
        self._health.begin("loading the catalogue")
        catalogue = await loop.run_in_executor(self._bus, LiveCatalogue, self._settings, self._admin)
        catalogue.start()
        client = make_async_client(self._settings)
        watchdog = Watchdog(loop, round(max(MIN_HANG_S, 3 * self._settings.session_timeout_s)))
        with (
            tempfile.TemporaryDirectory(prefix="streamrec-worker-") as data_dir,
            open_probe(self._settings, topic) as probe,
        ):
            for check in (probe.faults, self._progress.faults, self._unasked):
                self._health.watch(check)
            try:
                await asyncio.to_thread(catalogue.wait_until_ready, CATALOGUE_TIMEOUT_S)
                app = self._wire(data_dir, client, catalogue)
                watchdog.start()
                await self._serve(app, catalogue)
            finally:
                watchdog.stop()
                await asyncio.to_thread(catalogue.stop)
                await client.aclose()
                self._admin.close()
                self._bus.shutdown()
        return self._exit_code()

    def _wire(self, data_dir: str, client: Any, catalogue: LiveCatalogue) -> faust.App:
        settings = self._settings
        app = make_app(settings, data_dir)
        writer = StateWriter(
            client,
            settings.namespace,
            settings.shards,
            settings.rating_scale,
            cache_bytes=settings.ledger_cache_bytes,
        )
        dead_letter_topic = settings.topic("ratings.dlq")

        async def send_letters(letters: Sequence[DeadLetter]) -> None:
            sent = (
                app.producer.send_and_wait(dead_letter_topic, letter.key, letter.value, None, None, letter.headers)
                for letter in letters
            )
            try:
                await asyncio.gather(*sent)
            except ProducerSendError as error:
                if isinstance(error.__cause__, MessageSizeTooLargeError):
                    raise
                raise BusUnavailable(
                    f"{dead_letter_topic!r} did not take a dead letter: {error.__cause__!r}"
                ) from error

        applier = BatchApplier(
            writer,
            make_rating_decoder(settings),
            send_letters,
            lambda: catalogue.current.embedded,
            lambda items: int((catalogue.current.catalogue.rows_of_hashes(items) < 0).sum()),
        )
        claimer = Claimer(
            writer,
            self._topic,
            self._guard.current,
            self._start_ms,
            self._accepted_topic_id,
            resumes=self._resumes,
            rebuilds=self._rebuilds,
        )
        folder = IdleFolder(writer, settings.fold_idle_s)
        runner = PartitionRunner(claimer, applier, self._guard.confirm, self._report_batch, self._fail, folder.step)
        app.transport = WorkerTransport(
            app.conf.broker_consumer, app, settings=settings, run_partition=runner.run, progress=self._progress
        )
        app.producer_transport = app.transport
        return app

    async def _serve(self, app: faust.App, catalogue: LiveCatalogue) -> None:
        tasks = [
            asyncio.create_task(work)
            for work in (
                self._start(app),
                self._guard.watch(TOPIC_CHECK_S, _report_unchecked),
                self._watch_services(app, catalogue),
            )
        ]
        for task in tasks:
            task.add_done_callback(self._note_failure)
        await self._stopping.wait()
        self._health.begin("stopping")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        log.info("worker.stopping")
        try:
            await asyncio.wait_for(app.stop(), STOP_TIMEOUT_S)
        except TimeoutError:
            log.warning("worker.stop_timed_out", after_s=STOP_TIMEOUT_S)

    async def _start(self, app: faust.App) -> None:
        self._health.begin("joining the group and claiming its partitions")
        await app.start()
        consumer = app.consumer
        assert isinstance(consumer, WorkerConsumer)
        await consumer.wait_until_claimed()
        self._health.watch(consumer.unclaimed)
        if not self._stopping.is_set():
            self._health.begin("")
        log.info("worker.ready", topic=self._topic, partitions=sorted(tp.partition for tp in consumer.assignment()))

    async def _topic_id(self) -> str:
        loop = asyncio.get_running_loop()
        try:
            info = await loop.run_in_executor(self._bus, describe_topics, self._admin, [self._topic])
        except (KafkaError, OSError) as error:
            raise BusUnavailable(f"the broker did not say which topics there are: {error!r}") from error
        if self._topic not in info:
            raise TopicReplaced(f"topic {self._topic!r} does not exist any more")
        return info[self._topic].topic_id

    async def _watch_services(self, app: faust.App, catalogue: LiveCatalogue) -> None:
        while True:
            await asyncio.sleep(SERVICE_CHECK_S)
            self._health.beat()
            catalogue.check()
            if app.crashed:
                raise StreamrecError(f"a service of Faust crashed: {app.crash_reason!r}") from app.crash_reason

    def _unasked(self) -> list[str]:
        """Return that the broker is silent to a worker without a partition; else its partitions tell, and sooner."""
        is_silent = self._guard.age_s > TOPIC_CHECK_S + self._settings.stalled_after_s
        if self._progress.has_partitions or not is_silent:
            return []
        return [f"the broker, asked for topics every {TOPIC_CHECK_S:.0f} s, answered {self._guard.age_s:.0f} s ago"]

    def _report_batch(self, session: Session, records: Sequence[Any], done: Applied, seconds: float) -> None:
        metrics.observe_batch(
            done.records, done.applied, done.repeats, done.dead_letters, done.unknown_items, done.conflicts, seconds
        )
        figures = {
            "next_offset": session.position,
            "records": done.records,
            "applied": done.applied,
            "repeats": done.repeats,
            "dead_letters": done.dead_letters,
            "unknown_items": done.unknown_items,
            "conflicts": done.conflicts,
        }
        log.info("batch.applied", partition=session.partition, **figures, ms=round(seconds * 1000, 2))
        if self._spans is not None:
            self._spans.note_batch(session.topic, session.partition, records, seconds, figures)

    def _note_failure(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._stopping.set()

    def _exit_code(self) -> int:
        error = self._failure
        if error is None:
            log.info("worker.stopped")
            return 0
        if isinstance(error, Halt):
            log.critical("worker.halted", kind=type(error).__name__, why=str(error))
            return HALT_EXIT_CODE
        known = isinstance(error, StreamrecError)
        log.critical("worker.failed", why=str(error) if known else repr(error), exc_info=None if known else error)
        return FAILURE_EXIT_CODE


def _report_unchecked(error: Exception) -> None:
    log.warning("topic.unchecked", error=str(error))


def run_worker(
    settings: Settings,
    start_ms: int | None = None,
    accept_topic_id: str | None = None,
    *,
    resume: bool = False,
    rebuild: bool = False,
) -> int:
    """Run a worker until it is told to stop; return the exit code: 0, 1 on failure, 3 on a halt.

    Args:
        settings: everything from outside.
        start_ms: where partitions that nothing is known of start, in ms since 1970; None for the start of the log.
        accept_topic_id: id of a ratings topic made again that the state shall go on with, keeping its ledgers.
        resume: close dead-letter breakers that are open.
        rebuild: rebuild from the log's start when the store was emptied.
    """
    # A batch makes thousands of objects and no cycles: look for cycles seldom, and never among what was imported.
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    async def main(health: Health, spans: Spans | None) -> int:
        worker = Worker(
            settings,
            health,
            spans,
            start_ms=start_ms,
            accepted_topic_id=accept_topic_id,
            resumes=resume,
            rebuilds=rebuild,
        )
        code = await worker.run()
        _exit_within(EXIT_TIMEOUT_S, code)
        return code

    with serve_endpoint(settings, "worker") as health, open_tracing(settings, "worker") as spans:
        return asyncio.run(main(health, spans))


def _exit_within(timeout_s: float, code: int) -> None:
    """See that the process ends: Python waits for Faust's thread, which may look for a lost coordinator for ever."""
    timer = threading.Timer(timeout_s, os._exit, (code,))
    timer.daemon = True
    timer.start()
