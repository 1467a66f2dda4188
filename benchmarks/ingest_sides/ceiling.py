"""The store's ceiling: the scripts of a real pass over the log, once more from ready-made batches.

A first pass applies the log by the worker's own code and notes every call of the state's writer. Each later one, which
is measured, makes the same calls with the same ledgers in an empty store: nothing is decoded and nothing folded.
Partitions go side by side, as in the worker. The process stays between its passes, as noting takes longer than they do.
"""

import asyncio
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.ingest_sides.log import LoggedRecord, load_records
from benchmarks.ingest_sides.progress import Progress, hold_signals, say, wait_to_go
from recommender.ledger.batch import EmbeddedItems
from schemas.codec import RatingDecoder
from services.admin.bus import open_admin
from streams.bus.dead_letters import DeadLetter
from streams.bus.topics import require_topic
from streams.catalogue import LiveCatalogue
from streams.settings import Settings, load_settings
from streams.store.clients import make_async_client
from streams.store.writer import Claim, StateWriter
from streams.worker.apply import BatchApplier
from streams.worker.runner import MAX_RECORDS
from streams.worker.session import Session

CATALOGUE_TIMEOUT_S = 60.0


@dataclass
class Calls:
    """What one batch asked of the writer: the arguments of its reads, and of its commits, in turn."""

    records: int
    made: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)


class NotingWriter(StateWriter):
    """A writer that notes the calls of the batch being applied."""

    notes: Calls

    async def read(self, claim: Claim, *arguments: Any) -> Any:
        """Note and read."""
        self.notes.made.append(("read", arguments))
        return await super().read(claim, *arguments)

    async def commit(self, claim: Claim, *arguments: Any) -> None:  # type: ignore[override]
        """Note and commit."""
        self.notes.made.append(("commit", arguments))
        await super().commit(claim, *arguments)


async def _claim(writer: StateWriter, topic_id: str, partition: int) -> Session:
    taken = await writer.assign(0, topic_id, partition, "ceiling", 0)
    assert taken is not None
    return Session.begin("ratings", topic_id, partition, [taken])


async def _note(
    writer: NotingWriter, settings: Settings, items: EmbeddedItems, topic_id: str, log: Sequence[Sequence[LoggedRecord]]
) -> list[list[Calls]]:
    async def refuse(letters: Sequence[DeadLetter]) -> None:
        raise ValueError(f"the log has a bad record: {letters[0]}")

    decoder = RatingDecoder(settings.rating_min, settings.rating_max)
    applier = BatchApplier(writer, decoder, refuse, lambda: items, lambda _: 0)
    noted = []
    for partition, records in enumerate(log):
        session = await _claim(writer, topic_id, partition)
        calls = []
        for start in range(0, len(records), MAX_RECORDS):
            batch = records[start : start + MAX_RECORDS]
            writer.notes = Calls(len(batch))
            await applier.apply(session, batch)
            calls.append(writer.notes)
        noted.append(calls)
    return noted


async def _repeat(writer: StateWriter, session: Session, batches: list[Calls], progress: Progress) -> None:
    (claim,) = session.claims
    for batch in batches:
        for name, arguments in batch.made:
            await getattr(writer, name)(claim, *arguments)
        progress.add(batch.records)


async def _run(settings: Settings, items: EmbeddedItems, topic_id: str, log: list[list[LoggedRecord]]) -> NoReturn:
    client = make_async_client(settings)
    keeps = settings.ledger_cache_bytes
    noting = NotingWriter(client, settings.namespace, 1, settings.rating_scale, cache_bytes=keeps)
    batches = await _note(noting, settings, items, topic_id, log)
    gc.freeze()
    say("side.ready")
    while True:
        wait_to_go()
        writer = StateWriter(client, settings.namespace, 1, settings.rating_scale, cache_bytes=keeps)
        sessions = [await _claim(writer, topic_id, partition) for partition in range(len(log))]
        progress = Progress(sum(map(len, log)))
        await asyncio.gather(
            *(_repeat(writer, session, calls, progress) for session, calls in zip(sessions, batches, strict=True))
        )


def main(log_path: str) -> None:
    """Note the calls for a log that :func:`keep_records` kept, and repeat them whenever the parent says so.

    Settings are by environment.
    """
    hold_signals()
    settings = load_settings()
    with open_admin(settings) as admin:
        topic = require_topic(admin, settings.topic("ratings"))
        catalogue = LiveCatalogue(settings, admin)
        catalogue.start()
        try:
            catalogue.wait_until_ready(CATALOGUE_TIMEOUT_S)
            items = catalogue.current.embedded
        finally:
            catalogue.stop()
    asyncio.run(_run(settings, items, topic.topic_id, load_records(Path(log_path))))


if __name__ == "__main__":
    main(*sys.argv[1:])
