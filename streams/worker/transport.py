"""Faust's aiokafka transport, with whole fetched batches of a partition handed to our code.

Faust keeps the life cycle, the group membership, the rebalance and the producer. A runner a partition claims it, seeks
to the watermark, and alternates fetch and apply, so at most one batch a partition is in flight and no batch of an
older session can reach the store: a revocation ends the runner before the next one claims.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, ClassVar

import aiokafka
import structlog
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from schemas.errors import BusUnavailable
from streams.bus.security import security_arguments
from streams.settings import Settings
from streams.worker.ending import end_tasks
from streams.worker.progress import Progress

log = structlog.get_logger(__name__)

REACH_TIMEOUT_S = 5.0
FETCH_WAIT_S = 0.5
CLAIM_POLL_S = 0.05

FETCHED_BYTES = 64 * 1024 * 1024
"""Most bytes of fetched records, as they lie in the log, that wait for the runners of a worker's partitions."""

RESPONSE_BYTES = 4 * 1024 * 1024
"""Most bytes of one response; Tansu knows no other bound and has it for each partition."""

FETCHED_BYTES_A_PARTITION = 1024 * 1024
LEAST_BYTES_A_PARTITION = 64 * 1024

RunPartition = Callable[["PartitionLog"], Coroutine[Any, Any, None]]


def bytes_a_partition(partitions: int) -> int:
    """Return how many bytes one fetch may bring of each of so many partitions.

    The fetcher asks for more of a partition only when what it holds of it is taken, so this, times the partitions, is
    what can wait. The broker sends a first batch of records that is larger all the same.

    >>> bytes_a_partition(4), bytes_a_partition(256), bytes_a_partition(100_000)
    (1048576, 262144, 65536)
    """
    return max(LEAST_BYTES_A_PARTITION, min(FETCHED_BYTES_A_PARTITION, FETCHED_BYTES // max(1, partitions)))


class PartitionLog:
    """One assigned partition as its runner sees it; every call runs in the consumer's own thread."""

    def __init__(self, thread: "WorkerConsumerThread", tp: TP) -> None:
        self._thread = thread
        self._tp = TopicPartition(tp.topic, tp.partition)
        self.topic: str = tp.topic
        self.partition: int = tp.partition
        self.applied: int | None = None
        self.watermark: int | None = None
        self.moved_s = time.monotonic()
        self.claimed = asyncio.Event()

    def known_end(self) -> int | None:
        """Return the end of the committed records as the newest fetch saw it, None before one; from any thread."""
        subscription = self._thread.client._subscription.subscription  # noqa: SLF001 - the public way asserts
        assignment = None if subscription is None else subscription.assignment
        state = None if assignment is None else assignment.state_value(self._tp)
        if state is None or state.highwater is None:
            return None
        # A broker that knows no transactions says -1.
        return int(state.highwater if state.lso is None or state.lso < 0 else state.lso)

    async def seek(self, offset: int) -> None:
        """Fetch from ``offset`` on; what was fetched before is dropped."""

        async def seek() -> None:
            self._thread.client.seek(self._tp, offset)

        await self._thread.run(seek())

    async def fetch(self, max_records: int, timeout_s: float) -> list[Any]:
        """Return the next records, none when nothing came in time."""
        return list(await self._thread.run(self._thread.fetch(self._tp, max_records, timeout_s)))

    async def position(self) -> int:
        """Return the offset of the next fetch; past holes that hold no records."""
        return int(await self._thread.run(self._thread.client.position(self._tp)))

    async def start(self) -> int:
        """Return the first offset there is."""
        return int((await self._thread.run(self._thread.client.beginning_offsets([self._tp])))[self._tp])

    async def end(self) -> int:
        """Return the offset after the last committed record, as the broker names it."""
        return int((await self._thread.run(self._thread.client.end_offsets([self._tp])))[self._tp])

    async def reaches(self, offset: int) -> bool:
        """Return whether the log ends at ``offset`` or behind it, by fetching what is before it; moves the position.

        Raises:
            BusUnavailable: the broker is silent altogether; asking again is safe.
        """
        await self.seek(offset - 1)
        deadline = time.monotonic() + REACH_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                if await self.fetch(1, FETCH_WAIT_S) or await self.position() >= offset:
                    return True
            except NoOffsetForPartitionError:
                continue
            except OffsetOutOfRangeError:
                return False
        try:
            async with asyncio.timeout(REACH_TIMEOUT_S):
                await self.end()
        except (KafkaError, TimeoutError) as error:
            raise BusUnavailable(f"the broker does not say where partition {self.partition} ends: {error!r}") from error
        return False

    async def committed(self) -> int | None:
        """Return the group's committed offset, None without one."""
        offset = await self._thread.run(self._thread.client.committed(self._tp))
        return None if offset is None else int(offset)

    async def offset_at(self, start_ms: int) -> int:
        """Return the first offset whose record is not older than a time; the end when there is none."""
        found = (await self._thread.run(self._thread.client.offsets_for_times({self._tp: start_ms})))[self._tp]
        return await self.end() if found is None else int(found.offset)

    async def rejoin(self) -> None:
        """Give every partition up and join the group again."""

        async def rejoin() -> None:
            self._thread.client._coordinator.request_rejoin()  # noqa: SLF001 - aiokafka has no public way

        await self._thread.run(rejoin())


class WorkerConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread of the aiokafka consumer, made with this project's settings."""

    @property
    def client(self) -> aiokafka.AIOKafkaConsumer:
        """The aiokafka consumer."""
        return self._ensure_consumer()

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the consumer's thread; cancelling here cancels it there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))

    async def commit_hint(self, offsets: Mapping[TP, int]) -> None:
        """Commit next offsets to the group."""
        kafka_offsets = {TopicPartition(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
        await self.run(self.client.commit(kafka_offsets))

    async def fetch(self, tp: TopicPartition, max_records: int, timeout_s: float) -> Any:
        """Return fetched records of one partition."""
        fetcher = self.client._fetcher  # noqa: SLF001 - getmany() would refuse a second waiter
        with fetcher._subscriptions.fetch_context():  # noqa: SLF001
            found = await fetcher.fetched_records([tp], timeout=timeout_s, max_records=max_records)
        return found.get(tp, ())

    async def share_fetches(self, partitions: int) -> None:
        """Let so many partitions share what may be fetched and not yet applied."""

        async def share() -> None:
            # The fetcher reads it for each request, and aiokafka has no public way to change it.
            self.client._fetcher._max_partition_fetch_bytes = bytes_a_partition(partitions)  # noqa: SLF001

        await self.run(share())

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf, settings = self.app.conf, transport.settings
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=settings.group_worker,
            bootstrap_servers=settings.bootstrap_servers,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_interval_ms=24 * 60 * 60 * 1000,
            max_partition_fetch_bytes=FETCHED_BYTES_A_PARTITION,
            fetch_max_bytes=RESPONSE_BYTES,
            fetch_max_wait_ms=settings.fetch_wait_ms,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            rebalance_timeout_ms=int(settings.rebalance_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_s * 1000 / 4),
            metadata_max_age_ms=10_000,
            **security_arguments(settings),
        )


class WorkerConsumer(driver.Consumer):
    """Runs one runner an assigned partition, and commits what they applied as a hint for lag and retention."""

    transport: "WorkerTransport"
    _thread: WorkerConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._runners: dict[TP, asyncio.Task[None]] = {}
        self._logs: dict[TP, PartitionLog] = {}
        self._hinted: dict[TP, int] = {}
        self._was_assigned = False

    def _new_consumer_thread(self) -> WorkerConsumerThread:
        return WorkerConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Start the runners of what is assigned; each seeks to its watermark itself."""
        await self._thread.share_fetches(len(self.assignment()))
        for tp in self.assignment():
            if tp not in self._runners:
                self._logs[tp] = PartitionLog(self._thread, tp)
                self.transport.progress.add(self._logs[tp])
                self._runners[tp] = self.add_future(self.transport.run_partition(self._logs[tp]))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """End the runners of what is revoked, then tell Faust."""
        await self._end_runners(revoked)
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """End every runner and commit what was applied."""
        await self._end_runners(set(self._runners))
        await super().on_stop()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Note that the group has met, also where this member got nothing, then tell Faust."""
        await super().on_partitions_assigned(assigned, generation_id)
        self._was_assigned = True

    async def wait_until_claimed(self) -> None:
        """Return once the group has met and each partition this member has then is claimed."""
        while not (self._was_assigned and self._is_all_claimed()):  # noqa: ASYNC110 - rebalances come in between
            await asyncio.sleep(CLAIM_POLL_S)

    def unclaimed(self) -> list[str]:
        """Return which assigned partitions are not claimed; a worker that has none stands by and is well."""
        return [
            f"partition {log.partition} is not claimed yet"
            for log in list(self._logs.values())
            if not log.claimed.is_set()
        ]

    def _is_all_claimed(self) -> bool:
        return set(self.assignment()) == set(self._logs) and all(log.claimed.is_set() for log in self._logs.values())

    async def _end_runners(self, tps: Iterable[TP]) -> None:
        await end_tasks([self._runners.pop(tp) for tp in tps if tp in self._runners])
        await self.commit()
        for tp in tps:
            self._logs.pop(tp, None)
            self.transport.progress.drop(tp.partition)
            self._hinted.pop(tp, None)

    async def _drain_messages(self, fetcher: Any) -> None:
        while not (self.should_stop or fetcher.should_stop):
            await self.sleep(1.0)

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002 - Faust's
        """Commit the applied offsets that Kafka does not know yet; a failure is nothing, the state has the position."""
        offsets = {
            tp: partition.applied
            for tp, partition in self._logs.items()
            if partition.applied is not None and self._hinted.get(tp) != partition.applied
        }
        if not offsets:
            return False
        try:
            await self._thread.commit_hint(offsets)
        except Exception as error:  # noqa: BLE001 - whatever it is, the hint is not worth a worker
            log.info("offsets.uncommitted", error=repr(error))
            return False
        self._hinted.update(offsets)
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Leave Faust's stream watchdog out: there is no stream."""


class WorkerProducer(driver.Producer):
    """Faust's producer with this project's security and acknowledgement."""

    transport: "WorkerTransport"

    def _settings_auth(self) -> Mapping[str, Any]:
        return security_arguments(self.transport.settings)

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all"}


class WorkerTransport(driver.Transport):
    """The transport of the worker app.

    Args:
        settings: where the broker is.
        run_partition: runs for as long as a partition is assigned.
        progress: told which partitions are assigned.
    """

    Consumer: ClassVar[type[WorkerConsumer]] = WorkerConsumer
    Producer: ClassVar[type[WorkerProducer]] = WorkerProducer

    def __init__(
        self, *args: Any, settings: Settings, run_partition: RunPartition, progress: Progress, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings
        self.run_partition = run_partition
        self.progress = progress
