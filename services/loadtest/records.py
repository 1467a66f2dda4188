"""What a run hands over to whoever keeps it: every event, request and answer, to the byte."""

from typing import Protocol

import numpy as np

from services.loadtest.collector import read_kept_answers
from services.loadtest.generator import NOT_ACKNOWLEDGED, probe_value
from services.loadtest.outcome import Outcome

__all__ = ["NOT_ACKNOWLEDGED", "Recorder", "hand_over"]


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


def hand_over(outcome: Outcome, recorder: Recorder) -> None:
    """Give a recorder everything of a run that kept its answers.

    Raises:
        ValueError: the run kept no answers.
    """
    plan = outcome.plan
    if outcome.answers_kept is None:
        raise ValueError("the run kept no answers")
    for seq, value in enumerate(plan.load.values):
        recorder.rating(seq, float(plan.due[seq]), value, int(outcome.partitions[seq]), int(outcome.offsets[seq]))
    asked = [(float(due), plan.request_value(number)) for number, due in enumerate(plan.request_due)]
    asked += [
        (float(plan.due[number]), _probe(outcome, number)) for number in np.flatnonzero(outcome.sent_probes).tolist()
    ]
    for seq, (due, value) in enumerate(sorted(asked, key=lambda pair: pair[0])):
        recorder.request(seq, due, value)
    for at_s, value in read_kept_answers(outcome.answers_kept):
        recorder.answer(value, at_s)


def _probe(outcome: Outcome, number: int) -> bytes:
    plan = outcome.plan
    position = (int(outcome.partitions[number]), int(outcome.offsets[number]))
    return probe_value(plan.run, number, plan.load.keys[number], *position, plan.terms.deadline_ms)
