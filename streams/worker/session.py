"""A session: one partition held under one claim a shard, from one seek to the next."""

from dataclasses import dataclass

from streams.store.writer import Claim


@dataclass(slots=True)
class Session:
    """What a worker holds of one partition.

    Attributes:
        topic: name of the topic.
        topic_id: its id.
        partition: the partition.
        claims: the claim of each shard.
        next_offsets: each shard's watermark as this session knows it; never re-read at commit time.
        position: end of the last batch, or the seek target: where the next batch starts.
        forgiven: events below it do not count for the dead-letter breaker.
    """

    topic: str
    topic_id: str
    partition: int
    claims: list[Claim]
    next_offsets: list[int]
    position: int
    forgiven: int = 0

    @property
    def shards(self) -> int:
        """The number of shards, as when the session began."""
        return len(self.claims)

    @classmethod
    def begin(cls, topic: str, topic_id: str, partition: int, taken: list[tuple[Claim, int]]) -> "Session":
        """Return the session of claims just made; it seeks to the smallest of their next offsets."""
        next_offsets = [next_offset for _, next_offset in taken]
        return cls(topic, topic_id, partition, [claim for claim, _ in taken], next_offsets, min(next_offsets))
