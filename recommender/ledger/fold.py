"""The fold of one rating event into a ledger: the definition that the batch fold must equal."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recommender.ledger.layout import (
    ENTRY,
    EVENT,
    TAIL_KEEP,
    LastEvent,
    Ledger,
    Records,
    Vector,
    fold_events,
    fold_tail,
    window,
)
from recommender.profile import update_mean
from schemas.codec import RATING_QUANTUM


def apply_event(ledger: Ledger, *, item: int, rating: int, event: int, at: LastEvent, x: Vector | None) -> Ledger:
    """Return the ledger after one rating event.

    theta' = t/(t + 1) theta + 1/(t + 1) (r x),  t' = t + 1

    A repeat of an event id among the newest :func:`~recommender.ledger.layout.window` events changes nothing. Source:
    the iterative mean of r x of the content bandit (``docs/algorithms/iterative-mean.md``).

    Args:
        ledger: the user's ledger, its mean made with the embedding that ``x`` is from.
        item: hash of the item's id.
        rating: in units of 1/10000.
        event: hash of the event's id, 0 when none was given.
        at: where the event lies in the log.
        x: the item's vector, shape [D]; None when it has none.
    """
    if event and event in ledger.tail["event"][-window(ledger.t) :]:
        return ledger
    r_x = np.zeros_like(ledger.mean) if x is None else rating / RATING_QUANTUM * x
    t = ledger.t + 1
    tail = np.concatenate([ledger.tail, np.array([(item, rating, event)], EVENT)])
    base, tail = fold_tail(ledger.base, tail, t)
    return replace(
        ledger,
        rev=ledger.rev + 1,
        t=t,
        last=at,
        unembedded=ledger.unembedded + (x is None),
        mean=update_mean(ledger.mean, ledger.t, r_x),
        base=base,
        tail=tail,
    )


def compact(ledger: Ledger) -> Ledger:
    """Return the same ledger with fewer bytes, or itself.

    All but the newest 32 events move to the entries where that is shorter: an event is 20 bytes, an entry 24, so it is
    when items were rated again. An event that the next one may be a repeat of stays, if it has an id.
    """
    most = len(ledger.tail) - TAIL_KEEP
    if most <= 0:
        return ledger
    out_of_window = max(0, len(ledger.tail) - window(ledger.t))
    with_id = np.flatnonzero(ledger.tail["event"][out_of_window:most])
    folded = out_of_window + int(with_id[0]) if len(with_id) else most
    base = fold_events(ledger.base, ledger.tail[:folded], ledger.t - len(ledger.tail))
    if (len(base) - len(ledger.base)) * ENTRY.itemsize >= folded * EVENT.itemsize:
        return ledger
    return replace(ledger, base=base, tail=ledger.tail[folded:])


def mean_of_entries(
    rated: Records, t: int, rows: NDArray[np.int64], vectors: NDArray[np.float64]
) -> tuple[Vector, int]:
    """Return the mean feature of a user recomputed from the entries, and the events whose item has no vector.

    mean = sum_i rating_sum_i x_i / t

    Args:
        rated: :data:`~recommender.ledger.layout.ENTRY`, shape [S].
        t: number of events in them.
        rows: row of each entry in ``vectors``, -1 where it has none, shape [S].
        vectors: item vectors, shape [N, D].
    """
    known = rows >= 0
    sums = rated["rating_sum"][known] / RATING_QUANTUM
    mean = np.einsum("s,sd->d", sums, vectors[rows[known]]) / max(t, 1)
    return mean, int(rated["count"][~known].sum())
