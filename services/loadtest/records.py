"""What a run hands over to whoever keeps it: every event, request and answer, to the byte."""

from typing import Protocol

NOT_ACKNOWLEDGED = -1
"""Partition and offset of a rating that the broker did not acknowledge."""


class Recorder(Protocol):
    """Keeps a run. Called after the run, by one thread: ratings by ``seq``, requests by ``seq``, answers as they came.

    Seconds are those of the schedule: 0 is the run's start. They are when something was due, however late it went out.
    """

    def rating(self, seq: int, intended_s: float, event_bytes: bytes, partition: int, offset: int) -> None:
        """Take a record of ``ratings``; bad ones are among them.

        Args:
            seq: 0, 1, ... in the order of the schedule.
            intended_s: when it was due.
            event_bytes: its value; the key is the user's id.
            partition: as acknowledged, else :data:`NOT_ACKNOWLEDGED`.
            offset: as acknowledged, else :data:`NOT_ACKNOWLEDGED`.
        """

    def request(self, seq: int, intended_s: float, request_bytes: bytes) -> None:
        """Take a record of ``requests``: scheduled ones, and those that wait for a rating by ``min_position``.

        Args:
            seq: 0, 1, ... by ``intended_s``.
            intended_s: when it was due; of one that waits for a rating, when that rating was.
            request_bytes: its value; the key is the user's id.
        """

    def answer(self, value_bytes: bytes, received_s: float) -> None:
        """Take a record of ``recommendations`` that answers one of the run's requests; repeats are among them."""
