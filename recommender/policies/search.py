"""What of a large catalogue can be among the best, found by its index instead of a score for every row.

A shortlist holds the k best rows and every row that ties with the kth, so that the rule and the order of ties give the
same slate from it as from all rows. What the user rated is always in it: its novelty is its own.
"""

from collections.abc import Callable

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.catalogue import Catalogue
from recommender.policies.default import highest_and_lift, taste
from recommender.policies.linear import LINEAR, posterior_of
from recommender.policies.models import model_of
from recommender.policies.protocol import SlateRequest
from recommender.policies.sequence import aligned_of, state_of
from recommender.policies.settings import PolicySettings
from recommender.profile import Profile
from recommender.rows import AllBut
from recommender.sequence.model import SEQUENCE
from recommender.statistics import StatisticsView
from recommender.topk.index import ItemIndex, warm_up

SEARCHED_ROWS = 8192
"""Below this many rows, scoring them all takes no longer."""

_SPARSE = 16
_FEW_EXCLUDED = 512
_ROUNDING = 2.0**-49

Shortlist = Callable[[SlateRequest, Profile, Catalogue, StatisticsView, PolicySettings], Integers | None]
"""Gives ascending positions in the request's rows; None when all of them are to be scored."""


def prepare_search(catalogue: Catalogue) -> None:
    """Make what searching a catalogue takes, before the first request meets it."""
    if catalogue.size >= SEARCHED_ROWS:
        warm_up()
        catalogue.derived(ItemIndex)
        for model in catalogue.models.values():
            model.derived(ItemIndex)


def shortlist_default(
    request: SlateRequest,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
) -> Integers | None:
    """Return where the best of greedy and epsilon_greedy are.

    The score of an unseen item is m_i + t/(t + 3) theta_c . x_i, and so its order is that of the index.
    """
    if not _is_searched(request, catalogue):
        return None
    theta = taste(profile, catalogue, statistics, settings)
    means = statistics.means(settings.k0, settings.prior)
    return _search(request, profile, catalogue.derived(ItemIndex), means, theta)


def shortlist_linear(
    request: SlateRequest,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
) -> Integers | None:
    """Return where the best of a greedy linear are: the score of an unseen item is m_i + theta . [1, x_i]."""
    if not _is_searched(request, catalogue):
        return None
    theta = posterior_of(profile, catalogue, statistics, settings).mean
    means = statistics.means(settings.k0, settings.prior)
    return _search(request, profile, model_of(catalogue, LINEAR).derived(ItemIndex), means, theta)


def shortlist_sequence(
    request: SlateRequest,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,  # noqa: ARG001 - every shortlist is given them
) -> Integers | None:
    """Return where the best of sequence are: the score of an unseen item is b_i + a log q_i + theta . x_i."""
    if not _is_searched(request, catalogue):
        return None
    model = aligned_of(catalogue)
    index = model_of(catalogue, SEQUENCE).derived(ItemIndex)
    return _search(request, profile, index, model.prior(statistics), state_of(profile, model))


def shortlist_beliefs(
    request: SlateRequest,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
    thetas: Floats,
) -> Integers | None:
    """Return where the best of linear are by any of ``thetas``, shape [T, E]."""
    if not _is_searched(request, catalogue):
        return None
    means = statistics.means(settings.k0, settings.prior)
    index = model_of(catalogue, LINEAR).derived(ItemIndex)
    allowed, excluded = _leave_out(request.rows, profile, index.size)
    found = index.top_k(thetas, index.column(means, allowed), request.k, [excluded] * len(thetas))
    is_found = np.arange(request.k) < found.counts[:, np.newaxis]
    return _positions(request.rows, found.rows[is_found], profile.rows)


def _search(request: SlateRequest, profile: Profile, index: ItemIndex, values: Floats, theta: Floats) -> Integers:
    """Return where the k highest of ``values + theta . x`` are that the user has not seen, and all that are seen."""
    allowed, excluded = _leave_out(request.rows, profile, index.size)
    found = index.top_k(theta[np.newaxis], index.column(values, allowed), request.k, [excluded])
    return _positions(request.rows, found.rows[0, : found.counts[0]], profile.rows)


def shortlist_ucb(
    request: SlateRequest,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
) -> Integers | None:
    """Return where the best of ucb are, if nobody rated enough unseen items: among those.

    What somebody rated is scored without products, which is as fast as any search.
    """
    if not _is_searched(request, catalogue):
        return None
    index = catalogue.derived(ItemIndex)
    theta = taste(profile, catalogue, statistics, settings)
    untried = statistics.counts == 0
    untried[_left_out(request.rows, profile, catalogue.size)] = False
    if np.count_nonzero(untried) < request.k:
        return None
    highest, lift = highest_and_lift(theta, catalogue, statistics, settings)
    column = index.column(statistics.means(settings.k0, settings.prior), untried)
    found = index.shortlist(theta, column, request.k, slack=_ROUNDING * (highest + lift))
    return None if found is None else _positions(request.rows, found, profile.rows)


def _is_searched(request: SlateRequest, catalogue: Catalogue) -> bool:
    """Return whether the index serves: for many rows of the catalogue, in its order."""
    n = len(request.rows)
    if n < SEARCHED_ROWS or n * _SPARSE < catalogue.size:
        return False
    return isinstance(request.rows, AllBut) or bool((np.diff(request.rows) > 0).all())


def _leave_out(rows: Integers | AllBut, profile: Profile, size: int) -> tuple[Flags | None, Integers]:
    """Return which items are allowed, None for all but few, and the few that are not: what is seen is left out."""
    left_out = _left_out(rows, profile, size)
    if len(left_out) <= _FEW_EXCLUDED:
        return None, left_out
    allowed = np.ones(size, dtype=np.bool_)
    allowed[left_out] = False
    return allowed, np.zeros(0, dtype=np.int64)


def _left_out(rows: Integers | AllBut, profile: Profile, size: int) -> Integers:
    if isinstance(rows, AllBut):
        return np.union1d(rows.left_out, profile.rows)
    others = np.ones(size, dtype=np.bool_)
    others[rows] = False
    others[profile.rows] = True
    return np.flatnonzero(others)


def _positions(rows: Integers | AllBut, found: Integers, seen: Integers) -> Integers:
    """Return the positions of what was found, and of what of the seen is among ``rows``."""
    wanted = np.union1d(found, seen)
    if isinstance(rows, AllBut):
        return rows.positions_of(wanted)
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return np.asarray(places[rows[places] == wanted])
