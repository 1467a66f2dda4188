"""What runs for as long as a partition is assigned: claim, seek, then fetch and apply in turn."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import structlog
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from schemas.errors import BusUnavailable, Fenced, GenerationChanged, OffsetMoved, PartitionLost, StoreUnavailable
from streams.worker import metrics
from streams.worker.apply import Applied, BatchApplier
from streams.worker.claim import Claimer, LogEnds
from streams.worker.session import Session

log = structlog.get_logger(__name__)

MAX_RECORDS = 2048
BUSY_RECORDS = MAX_RECORDS // 4
FETCH_WAIT_S = 0.5
RETRY_S = 0.5
END_TIMEOUT_S = 5.0
NEW_SESSION_PAUSE_S = 0.05
MAX_FENCED = 3


class FetchedLog(LogEnds, Protocol):
    """One assigned partition: its ends, and its records in turn."""

    topic: str
    applied: int | None
    watermark: int | None
    moved_s: float
    claimed: asyncio.Event

    async def seek(self, offset: int) -> None:
        """Fetch from ``offset`` on."""

    async def fetch(self, max_records: int, timeout_s: float) -> list[Any]:
        """Return the next records, none when nothing came in time."""

    async def position(self) -> int:
        """Return the offset of the next fetch."""

    async def rejoin(self) -> None:
        """Give every partition up and join the group again."""


class PartitionRunner:
    """Runs partitions.

    Args:
        claimer: takes partitions.
        applier: applies batches.
        confirm_topic: returns when the topic still had this id at this time on the monotonic clock.
        on_batch: told of each batch: its records, what it did, and how long that took, in seconds.
        on_failure: told what must end the worker.
        when_quiet: work for when the end of the log was reached or a batch was small; brief, and often called.
    """

    def __init__(
        self,
        claimer: Claimer,
        applier: BatchApplier,
        confirm_topic: Callable[[str, float], Awaitable[None]],
        on_batch: Callable[[Session, Sequence[Any], Applied, float], None],
        on_failure: Callable[[BaseException], None],
        when_quiet: Callable[[Session], Awaitable[None]] | None = None,
    ) -> None:
        self._claimer = claimer
        self._applier = applier
        self._confirm_topic = confirm_topic
        self._on_batch = on_batch
        self._on_failure = on_failure
        self._when_quiet = when_quiet
        self._fenced: dict[int, int] = {}

    async def run(self, source: FetchedLog) -> None:
        """Apply a partition until cancelled; what cannot be repaired is reported, never raised."""
        try:
            while True:
                try:
                    session = await self._claim(source)
                    await source.seek(session.position)
                    source.watermark = session.position
                    source.claimed.set()
                    metrics.SESSIONS.inc()
                    log.info("session.began", partition=source.partition, position=session.position)
                    await self._pump(session, source)
                except (OffsetMoved, GenerationChanged, OffsetOutOfRangeError) as error:
                    log.warning("session.ended", partition=source.partition, why=repr(error))
                    await asyncio.sleep(NEW_SESSION_PAUSE_S)
                except IllegalStateError as error:  # revoked under us; the revocation ends this runner
                    log.info("partition.unassigned", partition=source.partition, why=repr(error))
                    await asyncio.sleep(RETRY_S)
        except Fenced as error:
            await self._give_up(source, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker must not go on without the partition
            self._on_failure(error)

    async def _claim(self, source: FetchedLog) -> Session:
        while True:
            try:
                return await self._claimer.claim(source)
            except StoreUnavailable as error:
                log.warning("store.unavailable", partition=source.partition, error=str(error))
            except (BusUnavailable, KafkaError, TimeoutError) as error:
                log.warning("bus.unavailable", partition=source.partition, error=repr(error))
            await asyncio.sleep(RETRY_S)

    async def _pump(self, session: Session, source: FetchedLog) -> None:
        while True:
            try:
                records = await source.fetch(MAX_RECORDS, FETCH_WAIT_S)
            except NoOffsetForPartitionError:
                continue  # raised once for a new group, before the seek took effect
            except (OffsetOutOfRangeError, IllegalStateError):
                raise
            except KafkaError as error:
                log.warning("bus.unavailable", partition=source.partition, error=repr(error))
                await asyncio.sleep(RETRY_S)
                continue
            if records:
                await self._confirm(session)
                began = time.perf_counter()
                done = await self._applier.apply(session, records)
                self._fenced.pop(source.partition, None)
                self._on_batch(session, records, done, time.perf_counter() - began)
                is_quiet = len(records) < BUSY_RECORDS
            else:
                is_quiet = await self._move_when_idle(session, source)
            if records or is_quiet:
                source.moved_s = time.monotonic()
            source.applied = source.watermark = session.position
            if is_quiet and self._when_quiet is not None:
                await self._when_quiet(session)

    async def _confirm(self, session: Session) -> None:
        """Return once the topic is known to be the session's, however long the broker is away."""
        fetched_at = time.monotonic()
        while True:
            try:
                await self._confirm_topic(session.topic_id, fetched_at)
            except BusUnavailable as error:
                log.warning("bus.unavailable", partition=session.partition, error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _move_when_idle(self, session: Session, source: FetchedLog) -> bool:
        """Follow the log over holes, and say that its end was reached; return whether it moved or was there."""
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                position, end = await source.position(), await source.end()
        except (KafkaError, TimeoutError):
            return False
        if position > session.position or position >= end:
            await self._applier.move(session, position)
            self._fenced.pop(source.partition, None)
            return True
        return False

    async def _give_up(self, source: FetchedLog, error: Fenced) -> None:
        times = self._fenced[source.partition] = self._fenced.get(source.partition, 0) + 1
        metrics.STALE_FENCES.inc()
        log.warning("partition.fenced", partition=source.partition, times=times, why=str(error))
        if times >= MAX_FENCED:
            self._on_failure(
                PartitionLost(f"partition {source.partition} of {source.topic!r} was fenced {times} times: {error}")
            )
            return
        await source.rejoin()
