"""The next-item protocol: one prediction before each event, over all items that the user has not rated.

Models are made from the events before one cut and stay as they are; what a user and all users did since is known to
every ranker alike, up to the moment and no further.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.ranking.log import Moments, RatingLog, walk
from recommender.topk import top_k

LIST_LENGTH = 10
"""How many items of each ranking are looked at: NDCG@10, hit rate@10, coverage and the like."""


class Ranker(Protocol):
    """Scores every item of the catalogue at given moments; pure, and each moment for itself."""

    def scores(self, moments: Moments) -> Floats:
        """Return a score for every item, higher is better, shape [B, N]."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a ranker said before P events.

    Attributes:
        events: places in the log, ascending, shape [P].
        users: number of the user of each, shape [P].
        is_known: whether the user has an event before the cut, shape [P].
        ranks: how many items stood before the one that came, shape [P].
        lists: the first ten rows of each ranking, -1 where fewer are left, shape [P, 10].
    """

    events: Integers
    users: Integers
    is_known: Flags
    ranks: Integers
    lists: Integers


def cut_at(log: RatingLog, share: float = 0.8) -> int:
    """Return how many events lie before the cut: ``share`` of them, rounded down.

    Raises:
        ValueError: ``share`` is not in (0, 1), or one side has no event.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"share must be in (0, 1), got {share}")
    cut = int(share * len(log))
    if not 0 < cut < len(log):
        raise ValueError(f"the cut must leave events on both sides, got {cut} of {len(log)}")
    return cut


def predict_next(
    log: RatingLog, cut: int, ranker: Ranker, on_batch: Callable[[int], None] | None = None, stride: int = 1
) -> Predictions:
    """Return what a ranker says before each event from ``cut`` on. Ties go to the item that is first in the catalogue.

    Args:
        log: the events.
        cut: how many of them the ranker was made from.
        ranker: what scores.
        on_batch: told how many events are done.
        stride: every how many events there is a prediction; above 1 for a quick look.

    Raises:
        ValueError: a score is not finite, or the scores have another shape than [B, N].
    """
    events, ranks, lists = [], [], []
    for moments, targets in walk(log, cut, stride=stride):
        scores = ranker.scores(moments)
        _check(scores, (len(targets.rows), log.size))
        for past, row, own in zip(moments.pasts, targets.rows.tolist(), scores, strict=True):
            ranks.append(_rank_of(own, past.rows, row))
            lists.append(first_ten(own, past.rows))
        events.append(targets.events)
        if on_batch is not None:
            on_batch(int(targets.events[-1]) - cut + 1)
    places = np.concatenate([np.zeros(0, dtype=np.int64), *events])
    users = log.users[places]
    known = np.bincount(log.users[:cut], minlength=len(log.user_ids)) > 0
    shown = np.array(lists, dtype=np.int64).reshape(len(places), LIST_LENGTH)
    return Predictions(places, users, known[users], np.array(ranks, dtype=np.int64), shown)


def _check(scores: Floats, shape: tuple[int, int]) -> None:
    if scores.shape != shape:
        raise ValueError(f"scores must have shape {list(shape)}, got {list(scores.shape)}")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite, got {scores[~np.isfinite(scores)][0]}")


def first_ten(scores: Floats, seen: Integers) -> Integers:
    """Return the ten best rows that are not among ``seen``, -1 where fewer are left, shape [10].

    >>> first_ten(np.array([1.0, 3.0, 2.0]), np.array([1]))[:3].tolist()
    [2, 0, -1]
    """
    allowed = np.delete(np.arange(len(scores)), seen)
    best = allowed[top_k(scores[allowed], None, LIST_LENGTH)]
    return np.concatenate((best, np.full(LIST_LENGTH - len(best), -1)))


def _rank_of(scores: Floats, seen: Integers, row: int) -> int:
    """Return how many unseen items stand before ``row``."""
    before = scores > scores[row]
    before[:row] |= scores[:row] == scores[row]
    before[seen] = False
    return int(np.count_nonzero(before))
