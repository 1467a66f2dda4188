"""A run as it goes, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recommender.arrays import Floats
from services.loadtest.generator import probe_id, request_id
from services.loadtest.plan import Plan
from services.loadtest.resources import Resources


@dataclass(slots=True)
class Look:
    """The run at one moment.

    Attributes:
        phase: ``sending``, or ``waiting`` for what is outstanding.
        at_s: since the start.
        seconds: length of the schedule.
        due: ratings due so far.
        sent: ratings sent.
        applied: ratings behind the watermarks.
        lag: ratings acknowledged and not applied.
        requests_due: scheduled requests due so far.
        answered: scheduled requests answered.
        told: the newest latencies, by kind (``r``, ``p``) and percentile, as ``r_p99_ms``.
        errors: errors so far, by kind.
        cores: cores used by each process.
    """

    phase: str
    at_s: float
    seconds: float
    due: int
    sent: int
    applied: int
    lag: int
    requests_due: int
    answered: int
    told: Mapping[str, float | None]
    errors: Mapping[str, int]
    cores: Mapping[str, float]


@dataclass(slots=True, eq=False)
class Outcome:
    """What became of a plan; times are seconds from the start of the schedule, NaN for never.

    Attributes:
        plan: what was sent.
        partitions: of each rating, as acknowledged.
        offsets: of each rating, as acknowledged.
        late_s: how late each rating went out.
        request_late_s: how late each scheduled request went out.
        visible_s: when the answer that waited for a rating came; NaN for ratings not asked after.
        visible_codes: its error, empty for none.
        unproven: answers that waited for a rating without having seen it.
        answered_s: when each scheduled request was answered.
        answer_codes: its error, empty for none.
        sent_probes: requests that waited for a rating and were sent.
        repeats: answers to requests that were answered before.
        send_errors: records that the broker did not acknowledge, by librdkafka's name of the error.
        looks_s: when the system was looked at.
        applied: ratings behind the watermarks at each look.
        acknowledged: ratings acknowledged at each look.
        resources: memory and cores over time, of each process.
        answers_kept: file of the answers; None where nobody keeps them.
        started: seconds since 1970.
        begin: end of each partition of ``ratings`` before the run.
    """

    plan: Plan
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    late_s: Floats
    request_late_s: Floats
    visible_s: Floats
    visible_codes: list[str]
    unproven: list[int]
    answered_s: Floats
    answer_codes: list[str]
    sent_probes: npt.NDArray[np.bool_]
    repeats: int
    send_errors: dict[str, int]
    looks_s: Floats
    applied: npt.NDArray[np.int64]
    acknowledged: npt.NDArray[np.int64]
    resources: Resources
    answers_kept: Path | None
    started: float
    begin: dict[int, int] = field(default_factory=dict)

    @property
    def unanswered(self) -> list[str]:
        """The ids of the requests without an answer: scheduled ones, then those that waited for a rating."""
        missing = np.flatnonzero(np.isnan(self.answered_s)).tolist()
        unseen = np.flatnonzero(np.isnan(self.visible_s) & self.sent_probes).tolist()
        run = self.plan.run
        return [request_id(run, number) for number in missing] + [probe_id(run, number) for number in unseen]


def find_unproven(
    visible_s: Floats,
    codes: list[str],
    partitions: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    applied_to: npt.NDArray[np.int64],
) -> list[int]:
    """Return the ratings whose answer came without an error and yet had not seen them.

    >>> find_unproven(np.array([0.1]), [""], np.array([0]), np.array([7]), np.array([[7]]))
    [0]
    """
    came = [n for n in np.flatnonzero(~np.isnan(visible_s)).tolist() if not codes[n]]
    return [n for n in came if applied_to[n, partitions[n]] <= offsets[n]]
