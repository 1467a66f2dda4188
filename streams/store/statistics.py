"""Item statistics as readers keep them: loaded once in pieces, then followed by the delta stream.

A piece is some buckets and the number of the newest delta they include, read by one script, so every delta is counted
exactly once. Entries of the stream are numbered without holes, and begin with random bytes. A hole means that the
stream was cut before it was read; a newest entry that is gone or differs means that the store came back without its
newest writes, or emptied. Either way the statistics are loaded anew.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from streams.store.calls import as_unavailable, call_script
from streams.store.keys import STATISTICS_BUCKETS, ShardKeys, statistics_bucket
from streams.store.reader import StateReader
from streams.store.scripts import STATISTICS, check_reply
from streams.store.writer import DELTA, DELTA_TOKEN_BYTES

BUCKETS_A_CALL = 64
DELTAS_A_CALL = 512


class _ShardStatistics:
    """How far one shard was taken in: the newest entry's number and, once read, its bytes."""

    def __init__(self, keys: ShardKeys) -> None:
        self.keys = keys
        self.sequence = 0
        self.loaded_to = 0
        self.newest: bytes | None = None
        self.bucket_sequence: list[int] = []


class StatisticsFollower:
    """Counts and sums of ratings of every item, over all users.

    Args:
        client: a blocking client with retries off.
        reader: names the shards and their live generations.

    Attributes:
        counts: ratings of each item hash.
        sums: their sum in units of 1/10000.
        version: grows with every change.
    """

    def __init__(self, client: Any, reader: StateReader) -> None:
        self._client = client
        self._reader = reader
        self._shards: dict[int, _ShardStatistics] = {}
        self._changed: set[int] = set()
        self.counts: dict[int, int] = {}
        self.sums: dict[int, int] = {}
        self.version = 0

    def follow(self, up_to: Mapping[int, int] | None = None) -> bool:
        """Take in what changed; return whether anything did.

        Args:
            up_to: number of the newest delta to take in of each shard; None for all. What had to be loaded may reach
                further, see :meth:`reach`.

        Raises:
            StoreUnavailable: no answer; following again is safe.
            GenerationChanged: the generation was flipped; let the reader read once, then follow again.
        """
        before = self.version
        if any(self._is_stale(shard) for shard in range(self._reader.shards)):
            self._load()
        for shard in range(self._reader.shards):
            if not self._tail(self._shards[shard], None if up_to is None else up_to.get(shard, 0)):
                self._load()
                break
        return self.version != before

    def forget(self) -> None:
        """Load everything anew at the next call of :meth:`follow`; for a store that was emptied under us."""
        self._shards.clear()

    def _is_stale(self, shard: int) -> bool:
        return shard not in self._shards or self._shards[shard].keys != self._reader.keys(shard)

    def sequence(self, shard: int) -> int:
        """Return the number of the newest delta taken in of a shard, -1 where its live generation was not looked at."""
        return -1 if self._is_stale(shard) else self._shards[shard].sequence

    def reach(self, shard: int) -> int:
        """Return the number of the newest delta that any item's counts hold: above :meth:`sequence` after a load."""
        return -1 if self._is_stale(shard) else max(self._shards[shard].sequence, self._shards[shard].loaded_to)

    def take_changed(self) -> set[int]:
        """Return the item hashes that changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def _load(self) -> None:
        self._changed.update(self.counts)
        self.counts.clear()
        self.sums.clear()
        self._shards = {}
        for shard in range(self._reader.shards):
            self._shards[shard] = self._load_shard(self._reader.keys(shard))
        self.version += 1

    def _load_shard(self, keys: ShardKeys) -> _ShardStatistics:
        state = _ShardStatistics(keys)
        for first in range(0, STATISTICS_BUCKETS, BUCKETS_A_CALL):
            buckets = range(first, first + BUCKETS_A_CALL)
            script_keys = [keys.live_generation, keys.sequence, *map(keys.statistics, buckets)]
            generation = "" if keys.shard else keys.generation
            sequence, *contents = check_reply(call_script(self._client, STATISTICS, script_keys, [generation]))
            state.bucket_sequence += [int(sequence)] * BUCKETS_A_CALL
            for content in contents:
                self._take_bucket(content)
        state.sequence, state.loaded_to = min(state.bucket_sequence), max(state.bucket_sequence)
        return state

    def _take_bucket(self, content: list[bytes]) -> None:
        for field, value in zip(content[::2], content[1::2], strict=True):
            item = int.from_bytes(field[:8], "little")
            target = self.counts if field[8:] == b"c" else self.sums
            target[item] = target.get(item, 0) + int(value)
            self._changed.add(item)

    def _tail(self, state: _ShardStatistics, last: int | None) -> bool:
        """Take in what came after the newest entry known; return False when that entry or a following one is gone."""
        while True:
            end = "+" if last is None else f"{max(last, state.sequence)}-0"
            with as_unavailable():
                found = self._client.xrange(state.keys.deltas, f"{state.sequence}-0", end, DELTAS_A_CALL)
            if state.sequence > 0:
                newest = found.pop(0) if found else (b"", {})
                if newest[0] != b"%d-0" % state.sequence or newest[1][b"d"] != (state.newest or newest[1][b"d"]):
                    return False
                state.newest = newest[1][b"d"]
            if not found:
                return True
            for entry_id, fields in found:
                sequence = int(entry_id.partition(b"-")[0])
                if sequence != state.sequence + 1:
                    return False
                self._apply(state, sequence, np.frombuffer(fields[b"d"], DELTA, offset=DELTA_TOKEN_BYTES))
                state.sequence, state.newest = sequence, fields[b"d"]

    def _apply(self, state: _ShardStatistics, sequence: int, deltas: Any) -> None:
        for item, count, rating_sum in deltas.tolist():
            if state.bucket_sequence[statistics_bucket(item)] < sequence:
                self.counts[item] = self.counts.get(item, 0) + count
                self.sums[item] = self.sums.get(item, 0) + rating_sum
                self._changed.add(item)
        self.version += 1
