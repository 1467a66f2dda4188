"""Which generation of the state is live, and in how many shards it lies.

Shard 0 says it for all: its generation number is the state's, and the number of shards of a generation that a rebuild
made lies beside it. So a flip is one write, whatever the number of shards was and is; the numbers in the other shards
follow, and only guard what writers do there.
"""

from dataclasses import dataclass
from typing import Any

from streams.store.calls import as_unavailable
from streams.store.keys import ShardKeys


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of the state.

    Attributes:
        number: its number, from 1.
        shards: its number of shards.
        is_built: whether it is made beside the live one.
    """

    number: int
    shards: int
    is_built: bool = False

    def keys(self, namespace: str, shard: int) -> ShardKeys:
        """Return the keys of one shard."""
        return ShardKeys(namespace, shard, self.number, self.is_built)

    def all_keys(self, namespace: str) -> list[ShardKeys]:
        """Return the keys of every shard."""
        return [self.keys(namespace, shard) for shard in range(self.shards)]


def scale_line(rating_scale: str, shards: int) -> str:
    """Return what is fixed when a generation is made, as the store keeps it.

    >>> scale_line("ratings 0.5 to 5", 2)
    'ratings 0.5 to 5, 2 shard(s)'
    """
    return f"{rating_scale}, {shards} shard(s)"


def shards_of(scale: str) -> int:
    """Return the number of shards in what :func:`scale_line` returned.

    >>> shards_of("ratings 0.5 to 5, 2 shard(s)")
    2
    """
    return int(scale.rsplit(", ", 1)[1].split(" ", maxsplit=1)[0])


def read_generation(client: Any, namespace: str, shards: int) -> Generation | None:
    """Return the live generation by a blocking client; None for a state not made yet.

    Args:
        client: a client of the store.
        namespace: prefix of every key.
        shards: how many shards a state has that no rebuild made.

    Raises:
        StoreUnavailable: no answer; reading again is safe.
    """
    with as_unavailable():
        number = client.get(ShardKeys(namespace, 0).live_generation)
        if number is None:
            return None
        made_with = client.get(ShardKeys(namespace, 0, int(number)).shards)
    return Generation(int(number), int(made_with or shards))
