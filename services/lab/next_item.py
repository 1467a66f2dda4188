"""The next-item protocol on a log of ratings: gather it, cut it, let everybody rank, and say what came of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.arrays import Floats
from recommender.embeddings.features import FeatureEncoder
from recommender.ranking.log import RatingLog
from recommender.ranking.measures import Report, report
from recommender.ranking.next_item import Predictions, Ranker, cut_at, predict_next
from schemas.codec import RATING_QUANTUM
from schemas.errors import DataError
from schemas.events import Item, RatingEvent
from services.lab.baselines import BASELINES, Fitting, choose_parameters

OnRanker = Callable[[str], None]
"""Told the name of what is chosen for, made or asked next."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """What the protocol says of rankers.

    Attributes:
        cut: how many events lie before the cut.
        events: how many there are.
        reports: measures by name, policies first.
        predictions: what each said, by name.
        policies: names of the policies; the others are baselines.
        parameters: what was chosen for each baseline on the events before the cut.
    """

    cut: int
    events: int
    reports: Mapping[str, Report]
    predictions: Mapping[str, Predictions]
    policies: Sequence[str]
    parameters: Mapping[str, Mapping[str, Any]]

    @property
    def best_baseline(self) -> str | None:
        """The baseline with the highest NDCG@10; None without baselines."""
        baselines = [name for name in self.reports if name not in self.policies]
        return max(baselines, key=lambda name: self.reports[name].everyone["ndcg@10"].mean, default=None)


def gather_log(ratings: Iterable[RatingEvent], items: Iterable[Item]) -> tuple[RatingLog, list[Item]]:
    """Return the log by (time, order of the file), and the catalogue: ``items``, then what else was rated.

    A log in which an event has no time keeps its order.

    Raises:
        DataError: there is no rating.
    """
    events = list(ratings)
    if not events:
        raise DataError("the log has no rating")
    if all(event.ts_ms is not None for event in events):
        events.sort(key=lambda event: event.ts_ms or 0)
    known = {item.item_id: item for item in items}
    for event in events:
        known.setdefault(event.item_id, Item(item_id=event.item_id))
    rows = {item_id: row for row, item_id in enumerate(known)}
    numbers: dict[str, int] = {}
    users = [numbers.setdefault(event.user_id, len(numbers)) for event in events]
    log = RatingLog(
        np.array(users, dtype=np.int64),
        np.array([rows[event.item_id] for event in events], dtype=np.int64),
        np.array([round(event.rating * RATING_QUANTUM) for event in events], dtype=np.int64),
        tuple(numbers),
        len(known),
    )
    return log, list(known.values())


def rank(
    log: RatingLog,
    items: Sequence[Item],
    policies: Mapping[str, Callable[[RatingLog], Ranker]],
    baselines: Sequence[str],
    on_ranker: OnRanker = lambda _: None,
) -> Ranked:
    """Return what policies and baselines are worth by the next-item protocol, with one cut at 80 % of the events.

    Args:
        log: of :func:`gather_log`.
        items: of the log's rows.
        policies: name to what makes a ranker out of the events before the cut.
        baselines: keys of :data:`services.lab.baselines.BASELINES`.
        on_ranker: told what is done next.

    Raises:
        ValueError: a side of the cut has no event.
    """
    cut = cut_at(log)
    past = log.before(cut)
    fitting, vectors = Fitting(past), content_vectors(items)
    parameters = choose_parameters(past, baselines, on_try=lambda name: on_ranker(f"{name}: parameters"))
    makers: dict[str, Callable[[], Ranker]] = {}
    for name, make in policies.items():
        makers[name] = lambda make=make: make(past)  # type: ignore[misc]
    for name in baselines:
        makers[name] = lambda name=name: BASELINES[name].make(fitting, **parameters[name])  # type: ignore[misc]
    predictions: dict[str, Predictions] = {}
    for name, make_ranker in makers.items():
        on_ranker(name)
        predictions[name] = predict_next(log, cut, make_ranker())
    reports = {name: report(each, vectors) for name, each in predictions.items()}
    return Ranked(cut, len(log), reports, predictions, list(policies), parameters)


def content_vectors(items: Sequence[Item]) -> Floats:
    """Return what distances within a list are of: genres and years, of length one or zero, shape [N, F]."""
    described = [item for item in items if item.genres or item.year is not None]
    if not described:
        return np.zeros((len(items), 1))
    columns = FeatureEncoder.fit(described).encode(items).astype(np.float64)
    lengths = np.sqrt((columns * columns).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(columns, lengths, out=np.zeros(columns.shape), where=lengths > 0))
