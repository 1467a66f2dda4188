"""Items by their distance from what an actor says, one table for each distance, with what is known of the items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.rl.distances import distances_to
from recommender.rl.network import Network
from recommender.rl.state import make_states
from recommender.topk import top_k
from schemas.errors import DataError
from schemas.events import Item


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Items with their vectors.

    Attributes:
        item_ids: N of them, distinct.
        vectors: shape [N, D].
    """

    item_ids: Sequence[str]
    vectors: Floats


@dataclass(frozen=True, slots=True)
class Ranked:
    """One line of a table.

    Attributes:
        rank: from 1, the nearest.
        item: what is known of it; its id alone where that is nothing.
        distance: of its vector to the proto-action.
    """

    rank: int
    item: Item
    distance: float

    def as_json(self) -> dict[str, Any]:
        """Return the line as JSON can."""
        return {
            "rank": self.rank,
            "item_id": self.item.item_id,
            "distance": self.distance,
            "title": self.item.title,
            "genres": list(self.item.genres),
            "language": self.item.language,
            "year": self.item.year,
            "rating": self.item.rating,
        }


def act(
    actor: Network, frame_size: int, frame: Sequence[tuple[str, float]], known: Vectors, scale: tuple[float, float]
) -> Floats:
    """Return the proto-action for a frame, shape [D].

    Args:
        actor: from a state to a proto-action.
        frame_size: F.
        frame: items and ratings, oldest first, F or more; the newest F count.
        known: the items' vectors.
        scale: least and highest rating.

    Raises:
        DataError: there are too few ratings, an item has no vector, or a rating is not on the scale.
    """
    if len(frame) < frame_size:
        raise DataError(f"the frame must have at least {frame_size} ratings, oldest first, got {len(frame)}")
    newest = frame[-frame_size:]
    for item_id, rating in newest:
        if not scale[0] <= rating <= scale[1]:
            raise DataError(f"a rating must be in {scale[0]:g}..{scale[1]:g}, got {rating:g} for item {item_id!r}")
    rows = _rows_of([item_id for item_id, _ in newest], known)
    ratings = np.array([rating for _, rating in newest])
    return np.asarray(actor.run(make_states(known.vectors[rows], ratings, scale)[np.newaxis])[0])


def rank(
    action: Floats, metric: str, k: int, known: Vectors, seen: Sequence[str], items: Mapping[str, Item]
) -> list[Ranked]:
    """Return the k nearest items that were not seen; of equally near ones the first of the vectors comes first.

    Args:
        action: the proto-action, shape [D].
        metric: a name of :data:`~recommender.rl.distances.DISTANCES`.
        k: how many.
        known: the items' vectors.
        seen: ids of items that are left out.
        items: what is known of items, by id.
    """
    is_seen = set(seen)
    rows = np.array([row for row, item_id in enumerate(known.item_ids) if item_id not in is_seen], dtype=np.int64)
    distances = distances_to(metric, action, known.vectors[rows])
    best = top_k(-distances, None, k)
    found = zip(rows[best].tolist(), distances[best].tolist(), strict=True)
    return [
        Ranked(place, items.get(known.item_ids[row]) or Item(item_id=known.item_ids[row]), distance)
        for place, (row, distance) in enumerate(found, 1)
    ]


def _rows_of(item_ids: Sequence[str], known: Vectors) -> Integers:
    rows = {item_id: row for row, item_id in enumerate(known.item_ids)}
    if missing := [item_id for item_id in item_ids if item_id not in rows]:
        raise DataError(f"every item of the frame must have a vector, got none for {', '.join(map(repr, missing))}")
    return np.array([rows[item_id] for item_id in item_ids], dtype=np.int64)
