"""How far the offsets of ``requests`` may be committed: below the lowest request without an acknowledged answer."""


class OffsetTracker:
    """Remembers, per partition, which requests are unanswered.

    >>> tracker = OffsetTracker()
    >>> for offset in (5, 6, 9):
    ...     tracker.receive(0, offset)
    >>> tracker.answer(0, 6)
    >>> tracker.committable()
    {0: 5}
    >>> tracker.answer(0, 5)
    >>> tracker.committable()
    {0: 9}
    >>> tracker.answer(0, 9)
    >>> tracker.committable()
    {0: 10}
    """

    def __init__(self) -> None:
        self._unanswered: dict[int, dict[int, None]] = {}
        self._next: dict[int, int] = {}

    @property
    def unanswered(self) -> int:
        """How many requests have no acknowledged answer."""
        return sum(len(offsets) for offsets in self._unanswered.values())

    def receive(self, partition: int, offset: int) -> None:
        """Note a request. An offset that is not above the newest begins the partition anew: its log was rewound."""
        if offset < self._next.get(partition, 0):
            self.drop(partition)
        self._next[partition] = offset + 1
        self._unanswered.setdefault(partition, {})[offset] = None

    def answer(self, partition: int, offset: int) -> None:
        """Note that a request's answer was acknowledged; one that is not waited for says nothing."""
        self._unanswered.get(partition, {}).pop(offset, None)

    def drop(self, partition: int) -> None:
        """Forget a partition: another scorer has it, and answers again what was not committed."""
        self._unanswered.pop(partition, None)
        self._next.pop(partition, None)

    def committable(self) -> dict[int, int]:
        """Return per partition the offset below which every request received was answered."""
        return {
            partition: next(iter(self._unanswered[partition]), next_offset)
            for partition, next_offset in self._next.items()
        }
