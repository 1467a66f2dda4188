"""Names of the keys; every key of a shard shares one hash tag, so a shard is one cluster slot."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from recommender.hashing import hash_id

STATISTICS_BUCKETS = 1024


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """The keys of one shard in one generation.

    Attributes:
        namespace: the prefix of every key.
        shard: number of the shard.
        generation: number of the state's generation.
        is_built: whether it is made beside the live one.
    """

    namespace: str
    shard: int
    generation: int = 1
    is_built: bool = False

    @property
    def root(self) -> str:
        """The shard's hash tag."""
        return f"{{{self.namespace}:{self.shard}}}"

    @property
    def live_generation(self) -> str:
        """The key whose number every script compares: the live generation's, or that of the one being built."""
        return self.building if self.is_built else f"{self.root}:generation"

    @property
    def building(self) -> str:
        """The key that names the generation a rebuild makes beside the live one."""
        return f"{self.root}:building"

    @property
    def shards(self) -> str:
        """In how many shards a generation lies that a rebuild made; kept in shard 0."""
        return f"{self.root}:g{self.generation}:shards"

    @property
    def scale(self) -> str:
        """What is fixed when the state is made: rating scale and number of shards."""
        return f"{self.root}:g{self.generation}:scale"

    @property
    def topic(self) -> str:
        """The id of the ratings topic the state was made from."""
        return f"{self.root}:g{self.generation}:topic"

    def watermark(self, topic_id: str, partition: int) -> str:
        """The position of one partition: next offset, fence, owner, time of the last move in ms."""
        return f"{self.root}:g{self.generation}:watermark:{topic_id}:{partition}"

    def breaker(self, topic_id: str, partition: int) -> str:
        """The dead-letter breaker of one partition, kept in shard 0."""
        return f"{self.root}:g{self.generation}:breaker:{topic_id}:{partition}"

    @property
    def redriven(self) -> str:
        """The set of the dead letters that were redriven and applied: ``<topic id>/<partition>/<offset>``."""
        return f"{self.root}:g{self.generation}:redriven"

    @property
    def forgotten(self) -> str:
        """The cuts of users who were forgotten: a hash, by the SHA-256 of the user's id."""
        return f"{self.root}:g{self.generation}:forgotten"

    def ledger(self, user_id: str) -> str:
        """The user's ledger."""
        return f"{self.root}:g{self.generation}:user:{user_id}"

    def ledgers(self, user_ids: Iterable[str]) -> list[str]:
        """The ledgers of users; thousands of these a batch."""
        prefix = self.ledger("")
        return [prefix + user_id for user_id in user_ids]

    def statistics(self, bucket: int) -> str:
        """One bucket of the item statistics: a hash with two fields an item."""
        # The root written out: hundreds of these a batch.
        return f"{{{self.namespace}:{self.shard}}}:g{self.generation}:items:{bucket}"

    @property
    def sequence(self) -> str:
        """The number of the newest entry of the delta stream."""
        return f"{self.root}:g{self.generation}:sequence"

    @property
    def deltas(self) -> str:
        """The capped stream of changes of the item statistics; ids are ``<sequence>-0``."""
        return f"{self.root}:g{self.generation}:deltas"

    def ledger_pattern(self) -> str:
        """A SCAN pattern of every ledger; the namespace has no character that a pattern treats specially."""
        return f"{self.root}:g{self.generation}:user:*"

    def user_of(self, key: str) -> str:
        """Return the user whose ledger ``key`` is."""
        return key.removeprefix(f"{self.root}:g{self.generation}:user:")


def statistics_bucket(item: int) -> int:
    """Return the bucket of an item hash."""
    return item % STATISTICS_BUCKETS


def item_field(item: int) -> bytes:
    """Return the field prefix of an item: its hash as 8 bytes; ``c`` (count) or ``s`` (sum) follows."""
    return item.to_bytes(8, "little")


def forgotten_field(user_id: str) -> bytes:
    """Return the field of a forgotten user: it tells the id to nobody who does not know it."""
    return sha256(user_id.encode()).digest()


def topic_hash(topic_id: str) -> int:
    """Return the number a ledger remembers a topic id by."""
    return hash_id(topic_id)
