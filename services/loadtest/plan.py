"""A run before it begins: every record, when it is due, and which ratings are asked after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recommender.arrays import Floats
from schemas.codec import encode
from schemas.events import RecommendationRequest
from services.loadtest.generator import request_id
from services.loadtest.load import Load
from services.loadtest.schedule import Pace, due_times, in_bursts, request_times
from services.loadtest.spool import ITEM, RATING, REQUEST, Rows, write_spool


@dataclass(frozen=True, slots=True)
class Terms:
    """What was asked of a run.

    Attributes:
        pace: of the ratings.
        per_rating: requests a rating.
        duration_s: when the schedule ends; None where the load does.
        probe_share: share of the good ratings that are asked after.
        deadline_ms: of every request.
        warm_up_s: what is due before that is not measured.
        drain_s: how long to wait for what is outstanding at the end.
        generators: processes that send ratings.
        seed: of the choice of ratings asked after.
    """

    pace: Pace
    per_rating: float = 1.0
    duration_s: float | None = None
    probe_share: float = 0.05
    deadline_ms: int = 60_000
    warm_up_s: float = 1.0
    drain_s: float = 30.0
    generators: int = 1
    seed: int = 7


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything that will be sent.

    Attributes:
        run: prefix of the run's request ids.
        load: the ratings that are due, no more.
        terms: as asked.
        due: when each rating is due.
        probed: which ratings are asked after.
        request_due: when each scheduled request is due.
        request_keys: user of each scheduled request.
        ratings_spool: file of ratings, and of items that appear on the way.
        requests_spool: file of scheduled requests.
    """

    run: str
    load: Load
    terms: Terms
    due: Floats
    probed: npt.NDArray[np.bool_]
    request_due: Floats
    request_keys: list[bytes]
    ratings_spool: Path
    requests_spool: Path

    @property
    def seconds(self) -> float:
        """How long the schedule is: to its end where that is said, else to one mean interval after the last rating."""
        if self.terms.duration_s is not None and self.terms.pace.speed is None and not self._ends_early:
            return self.terms.duration_s
        return float(self.due[-1]) * (1 + 1 / max(len(self.due) - 1, 1)) if len(self.due) else 0.0

    @property
    def _ends_early(self) -> bool:
        """Whether the load ended before its time did."""
        return bool(len(self.due)) and float(self.due[-1]) < 0.98 * (self.terms.duration_s or 0.0)

    def request_value(self, number: int) -> bytes:
        """Return the record of a scheduled request."""
        return _request(self.run, number, self.request_keys[number], self.terms.deadline_ms)


def make_plan(run: str, load: Load, terms: Terms, directory: Path) -> Plan:
    """Fix the schedule and write what will be sent to ``directory``.

    Raises:
        ValueError: nothing would be sent, or the pace does not suit the load.
    """
    due = due_times(terms.pace, len(load), load.ts_ms, terms.duration_s)
    if load.is_bursty and terms.pace.rate is not None:
        due = in_bursts(due)
    if not len(due):
        raise ValueError(f"{load.name} has no event to send in this time")
    load = load if len(due) == len(load) else _first(load, len(due))
    request_due, asked = request_times(due, terms.per_rating)
    keys = [load.keys[number] for number in asked.tolist()]
    rng = np.random.default_rng(terms.seed)
    probed = rng.random(len(due)) < terms.probe_share
    probed[list(load.bad)] = False
    plan = Plan(
        run,
        load,
        terms,
        due,
        probed,
        request_due,
        keys,
        directory / f"{run}-ratings.bin",
        directory / f"{run}-requests.bin",
    )
    write_spool(plan.ratings_spool, _rating_rows(plan))
    requests = [plan.request_value(number) for number in range(len(keys))]
    write_spool(plan.requests_spool, _rows(request_due, REQUEST, keys, requests))
    return plan


def _first(load: Load, count: int) -> Load:
    return Load(
        load.name,
        load.keys[:count],
        load.values[:count],
        load.items,
        bad={number: reason for number, reason in load.bad.items() if number < count},
        new_items=[(place, item) for place, item in load.new_items if place < count],
        is_bursty=load.is_bursty,
    )


def _rating_rows(plan: Plan) -> Rows:
    """Return the ratings, and each new item just before the event that may be the first to speak of it."""
    load = plan.load
    ratings = _rows(plan.due, RATING, load.keys, load.values)
    places = [min(place, len(load) - 1) for place, _ in load.new_items]
    if not places:
        return Rows(ratings.due, ratings.kinds, ratings.numbers, plan.probed, load.keys, load.values)
    keys, values = list(load.keys), list(load.values)
    for place, (_, item) in sorted(zip(places, load.new_items, strict=True), key=lambda pair: -pair[0]):
        keys.insert(place, item.item_id.encode())
        values.insert(place, encode(item))
    return Rows(
        np.insert(ratings.due, places, plan.due[places]),
        np.insert(ratings.kinds, places, ITEM),
        np.insert(ratings.numbers, places, np.arange(len(places))),
        np.insert(plan.probed, places, values=False),
        keys,
        values,
    )


def _rows(due: Floats, kind: int, keys: Sequence[bytes], values: Sequence[bytes]) -> Rows:
    n = len(due)
    return Rows(due, np.full(n, kind, np.uint8), np.arange(n), np.zeros(n, dtype=bool), keys, values)


def _request(run: str, number: int, key: bytes, deadline_ms: int) -> bytes:
    request = RecommendationRequest(request_id=request_id(run, number), user_id=key.decode(), deadline_ms=deadline_ms)
    return encode(request)
