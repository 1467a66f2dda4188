"""How far the worker has applied the log, looked up in the store as any reader would."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from streams.bus.topics import TopicInfo
from streams.settings import Settings
from streams.store.clients import make_client
from streams.store.reader import StateReader, merge_watermarks


class AppliedCount:
    """Counts the records of ``ratings`` behind the watermarks, from given offsets on; a context manager.

    Args:
        settings: where the store is.
        topic: the ratings topic.
        begin: where to count from, by partition.
    """

    def __init__(self, settings: Settings, topic: TopicInfo, begin: Mapping[int, int]) -> None:
        self._client = make_client(settings)
        self._reader = StateReader(self._client, settings.namespace, settings.shards, topic.topic_id, topic.partitions)
        self._begin = begin

    def watermarks(self) -> dict[int, int]:
        """Return the next offset of each partition, the lowest of all shards."""
        return merge_watermarks(self._reader.read([], all_shards=True).shards)

    def read(self) -> int:
        """Return how many records are applied now, dead letters included."""
        marks = self.watermarks()
        return sum(max(0, marks.get(partition, 0) - begin) for partition, begin in self._begin.items())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
