"""The four curves of a policy: means over users, with their standard errors."""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Floats
from recommender.simulation.experiment import Outcomes

MEASURES = ("cumulative_regret", "sq_error", "rating", "seconds")


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One measure after 0, 1, ..., T steps; 0 before the first; each of shape [T + 1].

    Attributes:
        mean: over the users who took the step, NaN where nobody did.
        error: standard error of the mean, NaN where fewer than two users did.
    """

    mean: Floats
    error: Floats


def curves_of(outcomes: Outcomes) -> dict[str, Curve]:
    """Return the curve of each of :data:`MEASURES`.

    A user who has nothing left to choose keeps the cumulative regret reached, and takes no part in the other means.
    """
    return {
        "cumulative_regret": _make_curve(np.nancumsum(outcomes.regrets, axis=1)),
        "sq_error": _make_curve(outcomes.sq_errors),
        "rating": _make_curve(outcomes.ratings),
        "seconds": _make_curve(outcomes.seconds),
    }


def _make_curve(values: Floats) -> Curve:
    """Return the curve of values of shape [U, T], NaN where a user took no step."""
    taken = np.isfinite(values)
    n = taken.sum(axis=0)
    mean = np.where(taken, values, 0.0).sum(axis=0) / np.where(n > 0, n, np.nan)
    squares = np.where(taken, (values - mean) ** 2, 0.0).sum(axis=0)
    error = np.sqrt(squares / np.where(n > 1, n - 1, np.nan) / np.maximum(n, 1))
    return Curve(np.concatenate(([0.0], mean)), np.concatenate(([0.0], error)))
