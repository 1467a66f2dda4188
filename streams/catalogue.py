"""The catalogue every process keeps in memory, fed by ``items`` and by the active release on ``models``."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import structlog

from recommender.catalogue import NO_EMBEDDING, Catalogue, build_catalogue
from recommender.catalogue_changes import change_catalogue
from recommender.ledger.batch import EmbeddedItems
from schemas.errors import EventError, StreamrecError
from schemas.events import ModelRelease
from streams import metrics
from streams.bus.compacted import CompactedReader
from streams.items import ItemTable, RecordPlace
from streams.models.live import LiveReleases, ReadPolicy
from streams.models.releases import embedding_id
from streams.settings import Settings

log = structlog.get_logger(__name__)

MIN_REBUILD_PAUSE_S = 0.05
"""The catalogue is rebuilt at most this often; a large one at most half of the time."""
RELEASE_RETRY_S = 10.0
_LITTLE = 8
"""A catalogue is changed instead of made anew where less than one in so many items changed."""
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, eq=False)
class CatalogueSnapshot:
    """The catalogue at one moment, and its vectors as ledgers are folded with them: both of one release.

    Attributes:
        catalogue: the items, withdrawn ones included, and their vectors.
        version: grows with every rebuild.
    """

    catalogue: Catalogue
    version: int

    @cached_property
    def embedded(self) -> EmbeddedItems:
        """The items that have a vector, by ascending hash; made when first wanted."""
        return embedded_items(self.catalogue)


class LiveCatalogue:
    """Reads ``items`` and ``models`` and keeps one immutable snapshot, swapped whole when either changes.

    Args:
        settings: where the broker is, the topics' names, and the name of the embedding.
        admin: an admin client, used here only.
        prepare: called with every snapshot before it becomes the live one; by default it makes what folding takes.
        policies: names of the policies whose released models the catalogue holds.
        read_policy: makes the model of a policy's name, arrays and metadata; needed where there are ``policies``.

    Raises:
        ConfigurationError: a topic is missing.
    """

    def __init__(
        self,
        settings: Settings,
        admin: Any,
        prepare: Callable[[CatalogueSnapshot], object] = lambda snapshot: snapshot.embedded,
        policies: Sequence[str] = (),
        read_policy: ReadPolicy | None = None,
    ) -> None:
        self._prepare = prepare
        self._lock = threading.Lock()
        self._table = ItemTable()
        self._releases = LiveReleases(settings.embedding, policies, read_policy)
        self._known_refused: set[str] = set()
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._embedding: ModelRelease | None = None
        self._current = CatalogueSnapshot(build_catalogue([]), 0)
        self._readers = (
            CompactedReader(settings, admin, settings.topic("items"), self._take_items),
            CompactedReader(settings, admin, settings.topic("models"), self._take_releases),
        )
        self._builder = threading.Thread(target=self._rebuild_when_changed, name="catalogue builder", daemon=True)

    @property
    def current(self) -> CatalogueSnapshot:
        """The live snapshot; empty before :meth:`wait_until_ready` returns."""
        return self._current

    @property
    def embedded(self) -> EmbeddedItems:
        """The item vectors to fold with."""
        return self._current.embedded

    def start(self) -> None:
        """Begin to read."""
        for reader in self._readers:
            reader.start()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Return once the snapshot holds everything that was in both topics at the start.

        Raises:
            StreamrecError: reading failed, or took longer than ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        for reader in self._readers:
            reader.wait_until_caught_up(max(0.0, deadline - time.monotonic()))
        if self._builder.ident is None:
            self._changed.clear()
            self._rebuild(self._releases.load())
            self._builder.start()

    def check(self) -> None:
        """Raise what ended a thread.

        Raises:
            StreamrecError: reading or building failed.
        """
        for reader in self._readers:
            reader.check()
        if self._failure is not None:
            raise StreamrecError(f"the catalogue could not be built: {self._failure!r}") from self._failure

    def stop(self) -> None:
        """End the threads and their consumers."""
        self._stopping.set()
        self._changed.set()
        for reader in self._readers:
            reader.stop()
        if self._builder.ident is not None:
            self._builder.join(STOP_TIMEOUT_S)

    def _take_items(self, records: list[Any]) -> None:
        refused: Counter[str] = Counter()
        example = ""
        with self._lock:
            for record in records:
                try:
                    self._table.apply(_place_of(record), record.key, record.value)
                except EventError as error:
                    refused[error.reason] += 1
                    example = example or f"partition {record.partition} offset {record.offset}: {error.message}"
        for reason, count in refused.items():
            metrics.ITEMS_REFUSED.labels(reason).inc(count)
        if refused:
            log.warning("items.refused", count=refused.total(), reasons=dict(refused), example=example)
        self._changed.set()

    def _take_releases(self, records: list[Any]) -> None:
        for record in records:
            try:
                with self._lock:
                    is_ours = self._releases.apply(_place_of(record), record.key, record.value)
            except EventError as error:
                metrics.RELEASES_REFUSED.inc()
                log.warning("release.unreadable", partition=record.partition, offset=record.offset, why=error.message)
                continue
            if is_ours:
                self._changed.set()

    def _rebuild_when_changed(self) -> None:
        try:
            while not self._stopping.is_set():
                is_change = self._changed.wait(RELEASE_RETRY_S if self._releases.is_behind else None)
                if self._stopping.is_set():
                    return
                self._changed.clear()
                started = time.monotonic()
                loaded = self._releases.load()
                if loaded or is_change:
                    self._rebuild(loaded)
                self._stopping.wait(max(MIN_REBUILD_PAUSE_S, time.monotonic() - started))
        except Exception as error:
            self._failure = error
            log.exception("catalogue.failed")

    def _rebuild(self, loaded: Sequence[ModelRelease | None]) -> None:
        """Make a new snapshot and swap it in; only then the releases ``loaded`` are what answers are made with."""
        catalogue = self._build()
        snapshot = CatalogueSnapshot(catalogue, self._current.version + 1)
        self._prepare(snapshot)
        self._current = snapshot
        metrics.CATALOGUE_ITEMS.set(catalogue.size)
        metrics.CATALOGUE_VERSION.set(snapshot.version)
        for release in loaded:
            log.info("release.live", release=None if release is None else release.label)
        log.debug("catalogue.rebuilt", items=catalogue.size, version=snapshot.version)

    def _build(self) -> Catalogue:
        """Return the catalogue as it is now: a large one from the one before where little changed."""
        before = self._current.catalogue
        release, model = self._releases.embedding.release, self._releases.embedding.model
        vectors_of = None if model is None else model.vectors_for
        with self._lock:
            changes = self._table.take_changes()
        is_little = changes is not None and len(changes) * _LITTLE < before.size
        if changes is not None and is_little and release == self._embedding:
            return change_catalogue(before, changes, vectors_of, self._releases.models)
        with self._lock:
            entries, refused = self._table.entries()
        for item_id in refused.keys() - self._known_refused:
            metrics.ITEMS_REFUSED.labels("collision").inc()
            log.warning("item.collides", item_id=item_id, with_item_id=refused[item_id])
        self._known_refused = set(refused)
        self._embedding = release
        own_id, label = (NO_EMBEDDING, "") if release is None else (embedding_id(release), release.label)
        return build_catalogue(entries, vectors_of, own_id, label, self._releases.models)


def embedded_items(catalogue: Catalogue) -> EmbeddedItems:
    """Return the items of a catalogue that have a vector, by ascending hash."""
    rows = np.flatnonzero(catalogue.has_vector)
    rows = rows[np.argsort(catalogue.hashes[rows])]
    return EmbeddedItems(catalogue.embedding_id, catalogue.hashes[rows], catalogue.vectors[rows])


def _place_of(record: Any) -> RecordPlace:
    return RecordPlace(record.partition, record.offset, record.timestamp)
