"""What a rebuild works with: log, store, and one release of vectors."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from services.admin.bus import open_admin
from services.admin.generations import REBUILD_OWNER
from services.admin.log import Log, open_log
from services.admin.refold import OnRecords, Refolder
from streams.bus.topics import TopicInfo, require_topic
from streams.catalogue import CatalogueSnapshot, LiveCatalogue
from streams.settings import Settings
from streams.store.clients import make_client
from streams.worker.session import Session

CATALOGUE_TIMEOUT_S = 60.0

OnStage = Callable[[str, int | None], OnRecords]
"""Told what begins, and how many records it has where that is known; returns what is told how it goes on."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a rebuild works with.

    Attributes:
        settings: bus, store and namespace.
        client: a blocking client of the store.
        topic: the ratings.
        log: their log, between its start and its end as they were at first.
        snapshot: items and vectors, as they were at first.
        owner: a name for the fences of this rebuild.
        on_stage: told of the progress.
    """

    settings: Settings
    client: Any
    topic: TopicInfo
    log: Log
    snapshot: CatalogueSnapshot
    owner: str
    on_stage: OnStage

    async def take(
        self, refolder: Refolder, starts: Mapping[int, int | None], judged: Mapping[int, int]
    ) -> dict[int, Session]:
        """Take partitions, and return the sessions of those that are known or have a start.

        Args:
            refolder: of the generation to take them in.
            starts: where to begin one that is not known, by partition.
            judged: the offset below which bad records do not count for the breaker.
        """
        taken = {
            partition: await refolder.take(
                self.topic.name, self.topic.topic_id, partition, start, judged.get(partition, 0)
            )
            for partition, start in starts.items()
        }
        return {partition: session for partition, session in taken.items() if session is not None}


@contextmanager
def open_site(settings: Settings, on_stage: OnStage) -> Iterator[Site]:
    """Give what a rebuild works with.

    Raises:
        ConfigurationError: no broker answers, or a topic does not exist.
        StreamrecError: the catalogue cannot be read.
    """
    with ExitStack() as cleanup:
        admin = cleanup.enter_context(open_admin(settings))
        topic = require_topic(admin, settings.topic("ratings"))
        catalogue = LiveCatalogue(settings, admin)
        catalogue.start()
        try:
            catalogue.wait_until_ready(CATALOGUE_TIMEOUT_S)
            snapshot = catalogue.current
        finally:
            catalogue.stop()
        client = cleanup.enter_context(make_client(settings))
        log = cleanup.enter_context(open_log(settings, topic.name))
        yield Site(settings, client, topic, log, snapshot, REBUILD_OWNER + secrets.token_hex(4), on_stage)
