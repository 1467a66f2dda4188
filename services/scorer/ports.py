"""What the scorer's loop asks of a Kafka client; `scorer_client` names which one answers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.scorer.intake import RequestRecord


class RequestSource(Protocol):
    """A group consumer of ``requests`` that commits only what it is told to."""

    @property
    def is_assigned(self) -> bool:
        """Whether the group has met once; this member may have got no partition."""
        ...

    def poll(self, wait_s: float, *, is_held: bool = False) -> Sequence[RequestRecord]:
        """Return up to a batch of records, partition by partition in order; none while held.

        Raises:
            StreamrecError: the broker refuses.
        """
        ...

    def take_revoked(self) -> set[int]:
        """Return the partitions revoked since the last call; some may be assigned again."""
        ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Begin to commit next offsets unless a commit is under way or just was; what is left out now comes later."""
        ...

    def lag(self) -> dict[int, int | None]:
        """Return how many records of each assigned partition were not taken yet; None before a fetch told."""
        ...

    def fault(self) -> str:
        """Return what keeps it from its partitions; empty when nothing does."""
        ...

    def close(self, offsets: Mapping[int, int], timeout_s: float) -> None:
        """Commit next offsets, wait for it, and leave the group."""
        ...
