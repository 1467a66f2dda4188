"""Taking a partition: the checks between log and state, and when to halt."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from schemas.errors import (
    BreakerOpen,
    EventsLost,
    GenerationChanged,
    LogTooShort,
    StateMismatch,
    StateMissing,
    TopicReplaced,
)
from streams.store.generations import Generation
from streams.store.writer import Claim, StateWriter
from streams.worker.breaker import BreakerMark
from streams.worker.session import Session

log = structlog.get_logger(__name__)


class LogEnds(Protocol):
    """What is asked of the log of one partition."""

    @property
    def partition(self) -> int:
        """The partition."""

    @property
    def applied(self) -> int | None:
        """Return the offset up to which it was applied since it was assigned, None before the first batch."""

    async def start(self) -> int:
        """Return the first offset there is."""

    async def end(self) -> int:
        """Return the offset after the last committed record, or a lower one: brokers may name it too low."""

    async def reaches(self, offset: int) -> bool:
        """Return whether the log ends at ``offset`` or behind it, by fetching what is before it."""

    async def committed(self) -> int | None:
        """Return the group's committed offset, None without one."""

    async def offset_at(self, start_ms: int) -> int:
        """Return the first offset whose record is not older than a time; the end when there is none."""


@dataclass(slots=True)
class Claimer:
    """Takes partitions in every shard.

    Args:
        writer: the state.
        topic: name of the ratings topic.
        topic_id: returns the topic's id as the broker has it.
        start_ms: where a partition that nothing is known of starts; None for the start of its log.
        accepted_topic_id: id of a topic made again that the state shall go on with.
        resumes: close dead-letter breakers that are open.
        rebuilds: start a partition over, from the start of its log, when the store was emptied.
    """

    writer: StateWriter
    topic: str
    topic_id: Callable[[], Awaitable[str]]
    start_ms: int | None = None
    accepted_topic_id: str | None = None
    resumes: bool = False
    rebuilds: bool = False
    _has_replaced: bool = False
    _lost: dict[int, int] = field(default_factory=dict)

    async def claim(self, ends: LogEnds) -> Session:
        """Take a partition and return a session that starts at the state's watermark.

        Raises:
            Halt: log and state contradict one another.
            StoreUnavailable: no answer; trying again is safe.
        """
        topic_id = await self.topic_id()
        owner = secrets.token_hex(4)
        generation = await self.writer.generation()
        try:
            taken = [await self._take(shard, topic_id, owner, ends, generation) for shard in range(generation.shards)]
        except GenerationChanged as error:
            if await self.writer.generation() != generation:
                raise
            raise StateMismatch(
                f"shard 0 of the state is at generation {generation.number}, another shard is not: {error}; the store "
                "lost the newest writes of shard 0: bring them back, or start over in another namespace"
            ) from None
        session = Session.begin(self.topic, topic_id, ends.partition, taken)
        await self._check_log(session, ends)
        session.forgiven = await self._check_breaker(session, ends)
        return session

    async def _take(
        self, shard: int, topic_id: str, owner: str, ends: LogEnds, generation: Generation
    ) -> tuple[Claim, int]:
        try:
            taken = await self.writer.assign(shard, topic_id, ends.partition, owner, None, generation)
        except TopicReplaced as error:
            if self.accepted_topic_id != topic_id:
                raise TopicReplaced(
                    f"topic {self.topic!r} has id {topic_id}, but {error}: it was deleted and made again; `streamrec "
                    f"worker --accept-topic-id {topic_id}` goes on with it from its start, keeping the ledgers"
                ) from None
            await self.writer.accept_topic(shard, topic_id)
            self._has_replaced = True
            taken = await self.writer.assign(shard, topic_id, ends.partition, owner, None, generation)
        if taken is None:
            first = await self._first_offset(shard, ends)
            taken = await self.writer.assign(shard, topic_id, ends.partition, owner, first, generation)
        assert taken is not None, "a first offset was given"
        return taken

    async def _first_offset(self, shard: int, ends: LogEnds) -> int:
        committed = await ends.committed()
        if committed is not None and not self._has_replaced:
            return await self._start_over(shard, ends, committed, "the group has committed")
        if ends.applied and not self._has_replaced:
            return await self._start_over(shard, ends, ends.applied, "this worker has applied up to")
        return await ends.start() if self.start_ms is None else await ends.offset_at(self.start_ms)

    async def _start_over(self, shard: int, ends: LogEnds, reached: int, who: str) -> int:
        """Return the start of the log of a partition whose state is gone, when it may be rebuilt from there."""
        where = f"{self.topic!r} partition {ends.partition}"
        gone = (
            f"{who} offset {reached} of {where}, but the store holds no watermark for it in shard {shard}: it was "
            "emptied, or redis_url or namespace name another"
        )
        if not self.rebuilds:
            raise StateMissing(f"{gone}; if it was emptied, `streamrec worker --rebuild` starts over from the log")
        start, end = await ends.start(), await ends.end()
        if start > 0:
            raise EventsLost(
                f"{gone}; it cannot be rebuilt, the log starts at offset {start}: {start} events were removed from it"
            )
        if end < reached and not await ends.reaches(reached):
            raise LogTooShort(f"{gone}; it cannot be rebuilt, the log ends at offset {end}")
        log.critical(
            "state.rebuilding", partition=ends.partition, shard=shard, first_offset=start, reached=reached, why=gone
        )
        self._lost[ends.partition] = reached
        return start

    async def _check_breaker(self, session: Session, ends: LogEnds) -> int:
        """Return the offset below which bad events are let through uncounted: the log's end when it was closed."""
        stored = await self.writer.read_breaker(session.claims[0], session.topic_id, session.partition)
        if stored is None:
            return await self._pass_judged(session)
        mark = BreakerMark.parse(stored)
        if not mark.is_open:
            return mark.until
        if not self.resumes:
            raise BreakerOpen(mark.why)
        closed = BreakerMark(is_open=False, until=max(mark.until, await ends.end()), why=mark.why)
        await self.writer.write_breaker(session.claims[0], session.topic_id, session.partition, closed.to_bytes())
        log.warning("breaker.closed", partition=session.partition, until=closed.until, why=mark.why)
        return closed.until

    async def _pass_judged(self, session: Session) -> int:
        """Let what is bad below a lost position through uncounted: it was judged before the state was lost."""
        until = self._lost.get(session.partition, 0)
        if until:
            mark = BreakerMark(is_open=False, until=until, why="the state was lost and is rebuilt").to_bytes()
            await self.writer.write_breaker(session.claims[0], session.topic_id, session.partition, mark)
        return until

    async def _check_log(self, session: Session, ends: LogEnds) -> None:
        start, end = await ends.start(), await ends.end()
        where = f"{self.topic!r} partition {session.partition}"
        if start > session.position:
            raise EventsLost(
                f"the log of {where} starts at offset {start}, but the state has applied only up to "
                f"{session.position}: {start - session.position} events were removed before they were applied"
            )
        if end < session.position and not await ends.reaches(session.position):
            raise LogTooShort(
                f"the log of {where} ends at offset {end}, but the state has applied up to {session.position}: "
                "the broker lost events, or this is another log"
            )
