"""How new an item is to a user, and the notebook's bonus; see docs/algorithms.

Paper letters: ``t`` the user's rating events so far, ``e = t + 1`` the epoch, ``L`` the item's ``last_t`` (0-based
index of the user's newest rating of it), ``N`` how often the user rated it, ``s`` the memory in interactions.
"""

import numpy as np

from recommender.arrays import Floats, Integers

UNSEEN_LAST_T = 1
"""What the notebook starts L with."""


def novelty(e: int, last_t: Integers | int, s: float) -> Floats:
    """Return the notebook's novelty, 1 - exp(-(e - L)/s).

    Args:
        e: epoch of the step, t + 1.
        last_t: L of each item, shape [S]; :data:`UNSEEN_LAST_T` for items not seen.
        s: interactions after which novelty has come back to 1 - 1/e; positive.

    >>> novelty(1, 1, 200.0)
    array(0.)
    """
    return np.asarray(1.0 - np.exp(-(e - np.asarray(last_t, dtype=np.float64)) / s))


def novelty_of_seen(t: int, last_t: Integers, s: float) -> Floats:
    """Return 1 - exp(-n/s), n the user's rating events after the item's newest one: n = t - 1 - L.

    The item rated last has novelty 0, and no seen item reaches the 1 of unseen ones before float64 ends.

    Args:
        t: the user's rating events so far.
        last_t: L of each seen item, shape [S].
        s: interactions after which novelty has come back to 1 - 1/e; positive.

    >>> novelty_of_seen(3, np.array([2, 0]), 2.0).round(4)
    array([0.    , 0.6321])
    """
    since = np.maximum(t - 1 - np.asarray(last_t, dtype=np.float64), 0.0)
    return np.asarray(1.0 - np.exp(-since / s))


def compat_bonus(e: int, counts: Integers) -> Floats:
    """Return the notebook's bonus, sqrt(2 log2(e + 1)/(N e)) where N > 0, else 0.

    Args:
        e: epoch of the step, at least 1.
        counts: N of each item, shape [S].

    >>> compat_bonus(3, np.array([0, 1, 3])).round(4)
    array([0.    , 1.1547, 0.6667])
    """
    tried = np.maximum(np.asarray(counts, dtype=np.float64), 1.0)
    return np.where(np.asarray(counts) > 0, np.sqrt(2.0 * np.log2(e + 1.0) / (tried * e)), 0.0)
