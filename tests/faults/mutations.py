"""Guards taken out of a worker one by one, to show that the suite sees each of them missing."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import GenerationChanged, OffsetMoved
from streams.store.scripts import COMMIT
from streams.worker.apply import BatchApplier
from streams.worker.transport import PartitionLog, WorkerProducer
from tests.streams.store.mutants import NO_HOLDER, NO_OFFSET, NO_REVISION, Change, without

LATE_LETTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Mutation:
    """One guard less.

    Attributes:
        apply: takes the guard out of this process.
        row: number of the row that must see it.
        what: what is taken out, in words.
    """

    apply: Callable[[], None]
    row: str
    what: str


def _cut_from_commit(*changes: Change) -> None:
    mutant = without(COMMIT, *changes)
    COMMIT.body, COMMIT.sha = mutant.body, mutant.sha


def drop_watermark_compare() -> None:
    _cut_from_commit(*NO_OFFSET)


def drop_rev_compare() -> None:
    _cut_from_commit(*NO_REVISION)


def drop_fence() -> None:
    _cut_from_commit(*NO_HOLDER)


def drop_session_check() -> None:
    """Let a batch that was fetched in an older session be committed in the newer one, at its watermark."""
    apply, left = BatchApplier.apply, {}

    async def apply_what_was_fetched(applier, session, records):
        older = left.pop(session.partition, None)
        if older:
            await apply(applier, session, older)
        try:
            return await apply(applier, session, records)
        except (OffsetMoved, GenerationChanged):
            left[session.partition] = records
            raise

    BatchApplier.apply = apply_what_was_fetched


def drop_seek() -> None:
    """Go to the watermark once after an assignment, never after a refusal."""
    seek, done = PartitionLog.seek, set()

    async def seek_once(log, offset):
        if id(log) not in done:
            done.add(id(log))
            await seek(log, offset)

    PartitionLog.seek = seek_once


def drop_dead_letter_wait() -> None:
    """Hand dead letters over and go on, as a producer with a buffer does."""
    send, sending = WorkerProducer.send_and_wait, set()

    async def send_later(producer, *letter):
        async def work():
            await asyncio.sleep(LATE_LETTER_S)
            await send(producer, *letter)

        task = asyncio.create_task(work())
        sending.add(task)
        task.add_done_callback(sending.discard)

    WorkerProducer.send_and_wait = send_later


MUTATIONS = {
    "watermark": Mutation(drop_watermark_compare, "4", "the watermark compare"),
    "rev": Mutation(drop_rev_compare, "12", "the rev compare"),
    "fence": Mutation(drop_fence, "10", "the fence"),
    "session": Mutation(drop_session_check, "4b", "the session check"),
    "seek": Mutation(drop_seek, "4", "the seek"),
    "dead letters": Mutation(drop_dead_letter_wait, "1c", "the wait for dead letters"),
}
