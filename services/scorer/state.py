"""What a micro-batch sees: one read of the state a shard, then the statistics at least as new."""

from collections.abc import Sequence

import structlog

from recommender.catalogue import Catalogue
from schemas.errors import GenerationChanged, LedgerError
from services.scorer.answer import Sight
from services.scorer.statistics import AlignedStatistics
from streams.store.keys import topic_hash
from streams.store.reader import ShardView, StateReader, StateSnapshot, merge_watermarks
from streams.store.statistics import StatisticsFollower

log = structlog.get_logger(__name__)

MOST_LOOKS = 3
"""After a load the statistics may be ahead of the state, which is then looked at again; a second time is chance."""


class StateSource:
    """Looks at the state.

    Args:
        reader: of ledgers and watermarks.
        follower: of item statistics.
        topic_id: id of the ratings topic.
    """

    def __init__(self, reader: StateReader, follower: StatisticsFollower, topic_id: str) -> None:
        self._reader = reader
        self._follower = follower
        self._aligned = AlignedStatistics(follower)
        self._topic = topic_hash(topic_id)
        self._statistics_to: dict[int, int] = {}

    @property
    def partitions(self) -> int:
        """Partitions of the ratings topic."""
        return self._reader.partitions

    @partitions.setter
    def partitions(self, partitions: int) -> None:
        self._reader.partitions = partitions

    def check_scale(self, scale: str) -> None:
        """Refuse a state made with another rating scale or number of shards than the settings say.

        Raises:
            StateMismatch: naming both.
            StoreUnavailable: no answer; checking again is safe.
        """
        self._reader.check_scale(scale)

    def look(self, user_ids: Sequence[str], catalogue: Catalogue) -> Sight:
        """Return what a batch of these users is answered from.

        The statistics are followed after the state was read, up to where it was: of each shard they hold the events
        below the watermarks read and no others, so that a play of the log can come upon the same ones.

        Raises:
            StoreUnavailable: no answer; looking again is safe.
        """
        looks = 0
        while True:
            state, unreadable = self._read(user_ids)
            self._notice_emptied_store(state.shards)
            try:
                self._follower.follow({shard: view.sequence for shard, view in state.shards.items()})
            except GenerationChanged:
                continue
            looks += 1
            if looks == MOST_LOOKS or all(self._follower.reach(n) <= view.sequence for n, view in state.shards.items()):
                break
        if all(self._follower.sequence(shard) >= view.sequence for shard, view in state.shards.items()):
            self._statistics_to = merge_watermarks(state.shards)
        return Sight(state, self._topic, catalogue, self._aligned.view(catalogue), self._statistics_to, unreadable)

    def glance(self) -> dict[int, ShardView]:
        """Return the watermarks of every shard.

        Raises:
            StoreUnavailable: no answer; looking again is safe.
        """
        return self._reader.read((), all_shards=True).shards

    def _read(self, user_ids: Sequence[str]) -> tuple[StateSnapshot, dict[str, str]]:
        try:
            return self._reader.read(user_ids, all_shards=True), {}
        except LedgerError:
            unreadable = {}
            for user_id in dict.fromkeys(user_ids):
                try:
                    self._reader.read([user_id])
                except LedgerError as error:
                    unreadable[user_id] = str(error)
                    log.warning("ledger.unreadable", user_id=user_id, why=str(error))
            rest = [user_id for user_id in user_ids if user_id not in unreadable]
            return self._reader.read(rest, all_shards=True), unreadable

    def _notice_emptied_store(self, views: dict[int, ShardView]) -> None:
        if any(view.sequence < self._follower.reach(shard) for shard, view in views.items()):
            log.warning("statistics.reloaded", why="the store's newest delta is older than one taken in before")
            self._follower.forget()
