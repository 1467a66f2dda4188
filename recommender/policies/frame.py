"""A user's newest frame: what of a ledger makes the state of an actor."""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue
from recommender.profile import Profile
from recommender.rl.model import AlignedActor
from schemas.codec import RATING_QUANTUM


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The newest ratings of a user whose items the model knows, F or as few as its states may have, oldest first.

    Attributes:
        rows: catalogue rows, shape [n]; an item rated again stands there again.
        ratings: shape [n].
    """

    rows: Integers
    ratings: Floats


def frame_of(profile: Profile, catalogue: Catalogue, aligned: AlignedActor) -> Frame | None:
    """Return a user's newest frame; None where there are too few ratings of items that the model knows.

    The newest events come from the ledger's tail one by one. Where these are too few, because the model does not know
    their items or the tail is not known, each item last rated before them stands for one event, at its mean rating.
    """
    size = aligned.model.frame_size
    if profile.t < aligned.model.least_events:
        return None
    rows, ratings = _from_tail(profile, catalogue, aligned, size)
    if len(rows) < size:
        older, means = _from_entries(profile, aligned, size - len(rows))
        rows, ratings = np.concatenate((older, rows)), np.concatenate((means, ratings))
    return Frame(rows, ratings) if len(rows) >= aligned.model.least_events else None


def _from_tail(profile: Profile, catalogue: Catalogue, aligned: AlignedActor, most: int) -> tuple[Integers, Floats]:
    if profile.tail is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    rows = catalogue.rows_of_hashes(profile.tail["item"])
    known = np.flatnonzero(rows >= 0)
    known = known[aligned.has_vector[rows[known]]][-most:]
    return rows[known], profile.tail["rating"][known] / RATING_QUANTUM


def _from_entries(profile: Profile, aligned: AlignedActor, most: int) -> tuple[Integers, Floats]:
    first_t = profile.t - (0 if profile.tail is None else len(profile.tail))
    places = np.flatnonzero((profile.last_t < first_t) & aligned.has_vector[profile.rows])
    newest = places[np.argsort(profile.last_t[places], kind="stable")][-most:]
    return profile.rows[newest], profile.sums[newest] / profile.counts[newest] / RATING_QUANTUM
