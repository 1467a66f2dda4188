"""The readers' side of the state: one MGET a shard and batch, inside a script that also reads the clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recommender.hashing import shard_of
from recommender.ledger import Ledger, unpack
from schemas.errors import StateMismatch
from streams.store.calls import as_unavailable, call_script
from streams.store.generations import Generation, read_generation, scale_line
from streams.store.keys import ShardKeys
from streams.store.scripts import LOOK
from streams.store.writer import Watermark


@dataclass(frozen=True, slots=True)
class ShardView:
    """What one MGET saw of a shard, all at one instant.

    Attributes:
        watermarks: next offset of each partition that has one.
        age_ms: since the oldest of these watermarks moved or was found at the end of the log; None without any.
        sequence: number of the newest delta of the item statistics.
    """

    watermarks: dict[int, int]
    age_ms: float | None
    sequence: int


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """What a micro-batch sees.

    Attributes:
        ledgers: by user id; None for a user nothing is known of.
        shards: by number of the shard.
        shard_of: the shard of each user.
    """

    ledgers: dict[str, Ledger | None]
    shards: dict[int, ShardView]
    shard_of: dict[str, int] = field(default_factory=dict)

    def view(self, user_id: str) -> ShardView:
        """Return what was seen of a user's shard."""
        return self.shards[self.shard_of[user_id]]


class StateReader:
    """Reads ledgers, watermarks and the number of the newest delta together, and follows a flip of the generation.

    Shard 0 is looked at with every read, for it says which generation is live. The others are read in that generation,
    which is complete in every shard before it is live, and stays until it is dropped.

    Args:
        client: a blocking client with retries off.
        namespace: prefix of every key.
        shards: number of shards of a state that no rebuild made.
        topic_id: id of the ratings topic.
        partitions: its number of partitions.
    """

    def __init__(self, client: Any, namespace: str, shards: int, topic_id: str, partitions: int) -> None:
        self._client = client
        self._namespace = namespace
        self._topic_id = topic_id
        self.partitions = partitions
        self._not_made = Generation(1, shards)
        self._live = self._not_made

    @property
    def shards(self) -> int:
        """The number of shards."""
        return self._live.shards

    def keys(self, shard: int) -> ShardKeys:
        """Return the keys of a shard in the generation last seen live."""
        return self._live.keys(self._namespace, shard)

    def check_scale(self, scale: str) -> None:
        """Refuse a state made with another rating scale, or, where no rebuild made it, another number of shards.

        Args:
            scale: the rating scale of the settings.

        Raises:
            StateMismatch: naming both.
            StoreUnavailable: no answer; checking again is safe.
        """
        self._look_live()
        expected = scale_line(scale, self.shards)
        for keys in self._live.all_keys(self._namespace):
            with as_unavailable():
                made_with = self._client.get(keys.scale)
            if made_with is not None and made_with.decode() != expected:
                raise StateMismatch(f"the state was made with {made_with.decode()}, the settings say {expected}")

    def _look_live(self) -> None:
        self._live = read_generation(self._client, self._namespace, self._not_made.shards) or self._not_made

    def read(self, user_ids: Sequence[str], *, all_shards: bool = False) -> StateSnapshot:
        """Return the state of users, each shard's at one instant.

        Args:
            user_ids: whom to read; repeats are read once.
            all_shards: look at the watermarks of shards without any of these users too.

        Raises:
            StoreUnavailable: no answer; reading again is safe.
            LedgerError: a stored ledger cannot be read.
        """
        while True:
            snapshot = self._read_live(user_ids, all_shards=all_shards)
            if snapshot is not None:
                return snapshot
            self._look_live()

    def _read_live(self, user_ids: Sequence[str], *, all_shards: bool) -> StateSnapshot | None:
        """Return the state of users in the generation known, None when another one is live."""
        by_shard: dict[int, list[str]] = {shard: [] for shard in range(self.shards if all_shards else 1)}
        homes = {user_id: shard_of(user_id, self.shards) for user_id in user_ids}
        for user_id, shard in homes.items():
            by_shard.setdefault(shard, []).append(user_id)
        ledgers: dict[str, Ledger | None] = {}
        views = {}
        for shard, users in by_shard.items():
            keys = self.keys(shard)
            marks = [keys.watermark(self._topic_id, partition) for partition in range(self.partitions)]
            values, (seconds, micros) = call_script(
                self._client, LOOK, [keys.live_generation, keys.sequence, *marks, *map(keys.ledger, users)]
            )
            if shard == 0 and int(values[0] or 1) != keys.generation:
                return None
            for user_id, value in zip(users, values[2 + len(marks) :], strict=True):
                ledgers[user_id] = None if value is None else unpack(value)
            now_ms = int(seconds) * 1000 + int(micros) / 1000
            views[shard] = _view(values[1], values[2 : 2 + len(marks)], now_ms)
        return StateSnapshot(ledgers, views, homes)


def _view(sequence: bytes | None, marks: Sequence[bytes | None], now_ms: float) -> ShardView:
    watermarks: dict[int, Watermark] = {
        partition: Watermark.parse(value) for partition, value in enumerate(marks) if value is not None
    }
    age_ms = max((now_ms - mark.stamp_ms for mark in watermarks.values()), default=None)
    return ShardView(
        watermarks={partition: mark.next_offset for partition, mark in watermarks.items()},
        age_ms=None if age_ms is None else max(0.0, age_ms),
        sequence=int(sequence or 0),
    )


def merge_watermarks(views: Mapping[int, ShardView]) -> dict[int, int]:
    """Return per partition the lowest watermark of several shards."""
    lowest: dict[int, int] = {}
    for view in views.values():
        for partition, offset in view.watermarks.items():
            lowest[partition] = min(offset, lowest.get(partition, offset))
    return lowest
