"""What can be among the items nearest to a proto-action, found by an index instead of a distance to every row.

The index's order (:mod:`recommender.rl.indices`) is not always the distance's own arithmetic, so everything is kept
that rounding could put among the nearest; the distances decide, and give the same items, bits and ties as all rows.

    slack = (4 D + 64) 2^-52 s,   s = (|a| + m)^2 for euclidean, m the largest norm of an item; |a| for cosine

It covers the rounding of both, each at most (D + 8) 2^-53 s, on the item and on the kth. inner is its own order.
"""

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.catalogue import AlignedModel, Catalogue
from recommender.policies.protocol import SlateRequest
from recommender.policies.search import SEARCHED_ROWS, is_searched, rows_left_out
from recommender.rl.indices import INDICES
from recommender.rl.model import AlignedActor

_ROUNDING = 2.0**-52


def shortlist_nearest(
    request: SlateRequest, catalogue: Catalogue, model: AlignedModel, action: Floats, distance: str, k: int
) -> Integers | None:
    """Return rows of the request, ascending, that hold its k nearest and all that tie; None when all are to be scored.

    Args:
        request: what is asked.
        catalogue: the items.
        model: on the catalogue's rows.
        action: a, shape [D].
        distance: what the nearest items are by.
        k: how many.
    """
    if distance not in INDICES or not is_searched(request, catalogue, SEARCHED_ROWS):
        return None
    assert isinstance(model.value, AlignedActor)
    index, values = model.derived(INDICES[distance])
    allowed = model.value.has_vector.copy()
    allowed[rows_left_out(request.rows, catalogue.size)] = False
    if np.count_nonzero(allowed) < k:
        return None
    norm = float(np.sqrt(action @ action))
    size = {"inner": 0.0, "euclidean": (norm + index.packed.largest) ** 2, "cosine": norm}[distance]
    slack = (4 * len(action) + 64) * _ROUNDING * size
    return index.shortlist(action, index.column(values, allowed), k, slack=slack)
