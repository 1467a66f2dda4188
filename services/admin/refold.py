"""The log folded anew, through the worker's own guarded path, into partitions taken beside or instead of a worker."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

from schemas.errors import Fenced, GenerationChanged, OffsetMoved, StreamrecError
from services.admin.log import Log
from streams.bus.dead_letters import DeadLetter
from streams.catalogue import CatalogueSnapshot
from streams.ratings import make_rating_decoder
from streams.settings import Settings
from streams.store.clients import make_async_client
from streams.store.generations import Generation
from streams.store.writer import Claim, StateWriter
from streams.worker.apply import BatchApplier
from streams.worker.session import Session

MAX_RECORDS = 2048

OnRecords = Callable[[int], None]
"""Told how many records were folded since the last call."""


async def _send_nothing(_letters: Sequence[DeadLetter]) -> None:
    """Leave dead letters alone: the worker that moved the watermark past them has sent them."""


class Refolder:
    """Folds stretches of the log with one release of vectors.

    Args:
        writer: the generation to write.
        generation: which one it is.
        settings: how ratings are decoded.
        snapshot: the vectors to fold with.
        owner: the name its fences have.
    """

    def __init__(
        self,
        writer: StateWriter,
        generation: Generation,
        settings: Settings,
        snapshot: CatalogueSnapshot,
        owner: str,
    ) -> None:
        self._writer = writer
        self._generation = generation
        self._owner = owner
        decoder = make_rating_decoder(settings)
        self._applier = BatchApplier(writer, decoder, _send_nothing, lambda: snapshot.embedded, lambda _: 0)

    async def take(
        self, topic: str, topic_id: str, partition: int, first_offset: int | None, until: int = 0
    ) -> Session | None:
        """Take a partition in every shard; None when no shard knows it and no first offset is given.

        Args:
            topic: name of the ratings topic.
            topic_id: its id.
            partition: the partition.
            first_offset: where shards start that do not know it; None: where the others are.
            until: bad records below it do not count for the dead-letter breaker, which has judged them.
        """
        taken: dict[int, tuple[Claim, int]] = {}
        for offset in (first_offset, None):
            known = max((next_offset for _, next_offset in taken.values()), default=offset)
            for shard in set(range(self._generation.shards)) - set(taken):
                found = await self._writer.assign(shard, topic_id, partition, self._owner, known, self._generation)
                if found is not None:
                    taken[shard] = found
        if not taken:
            return None
        session = Session.begin(topic, topic_id, partition, [taken[shard] for shard in sorted(taken)])
        session.forgiven = until
        return session

    async def fold(
        self,
        log: Log,
        sessions: Mapping[int, Session],
        ends: Mapping[int, int],
        on_records: OnRecords,
        includes: Callable[[Any], bool] = lambda _: True,
    ) -> None:
        """Fold the log from where each session is up to an end, and leave the watermark there.

        Args:
            log: the ratings.
            sessions: of the partitions to fold.
            ends: the offset to stop before, of each.
            on_records: told how far it is.
            includes: which records count; the others are passed over.

        Raises:
            StreamrecError: somebody else took a partition, or the log cannot be read.
        """
        starts = {partition: session.position for partition, session in sessions.items()}
        stops = {partition: ends[partition] if partition in sessions else 0 for partition in log.ends}
        try:
            async with _prefetched(batches(log.read(starts, stops))) as found:
                async for partition, records in found:
                    if counted := [record for record in records if includes(record)]:
                        await self._applier.apply(sessions[partition], counted)
                    on_records(len(records))
            for partition, session in sessions.items():
                await self._applier.move(session, ends[partition])
        except (Fenced, GenerationChanged, OffsetMoved) as error:
            raise taken_over(error) from error


def taken_over(why: object) -> StreamrecError:
    """Return the error of a rebuild that somebody else has ended."""
    return StreamrecError(
        f"the state was taken over while it was rebuilt ({why}): by a worker, by another rebuild, or by `state "
        "drop-generation`; nothing was flipped, end it and run this again"
    )


@asynccontextmanager
async def open_refolder(
    settings: Settings, generation: Generation, snapshot: CatalogueSnapshot, owner: str, scale: str | None = None
) -> AsyncIterator[Refolder]:
    """Give a refolder of one generation, with a connection of its own.

    Args:
        settings: where the store is, the namespace, the rating scale.
        generation: the live one, or one that is built beside it.
        snapshot: the vectors to fold with.
        owner: the name its fences have.
        scale: what to keep instead of the rating scale.
    """
    client: Any = make_async_client(settings)
    builds = generation.number if generation.is_built else None
    scale = scale or settings.rating_scale
    try:
        writer = StateWriter(
            client,
            settings.namespace,
            generation.shards,
            scale,
            builds=builds,
            cache_bytes=settings.ledger_cache_bytes,
        )
        yield Refolder(writer, generation, settings, snapshot, owner)
    finally:
        await client.aclose()


def batches(records: Iterable[Any], most: int = MAX_RECORDS) -> Iterator[tuple[int, list[Any]]]:
    """Yield the records of one partition after the other, as they come, at most so many together."""
    for partition, run in groupby(records, key=attrgetter("partition")):
        yield from ((partition, batch) for batch in iter(lambda run=run: list(islice(run, most)), []))  # type: ignore[misc]


@asynccontextmanager
async def _prefetched(found: Iterator[Any]) -> AsyncIterator[AsyncIterator[Any]]:
    """Give the values of a blocking iterator, the next one read while the last one is worked on."""
    loop = asyncio.get_running_loop()

    async def values() -> AsyncIterator[Any]:
        coming = loop.run_in_executor(thread, next, found, None)
        while (value := await coming) is not None:
            coming = loop.run_in_executor(thread, next, found, None)
            yield value

    with ThreadPoolExecutor(1, thread_name_prefix="log") as thread:
        yield values()
