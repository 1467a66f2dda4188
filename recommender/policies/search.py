"""What of a catalogue can be among the best, found by its index instead of a score for every row.

What the user rated is scored by itself: its novelty is its own. All else is ordered as the index orders it. The rule
and the order of ties give the same slate from what is found as from all rows.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.catalogue import Catalogue
from recommender.policies.default import highest_and_lift
from recommender.policies.protocol import SlateRequest
from recommender.policies.settings import PolicySettings
from recommender.policies.taste import taste, tastes
from recommender.profile import Profile
from recommender.rows import AllBut
from recommender.statistics import StatisticsView
from recommender.topk.index import ItemIndex, warm_up

SEARCHED_ROWS = 512
"""Below this many rows, scoring them all takes no longer."""
SHORTLISTED_ROWS = 8192
"""The same where one user is searched for and what equals the kth is wanted too."""

_WORTH_A_THREAD_NS = 1_000_000
"""A scorer's other work wants the cores too."""
_SPARSE = 16
_FEW_EXCLUDED = 512
_ROUNDING = 2.0**-49


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the index found for one request.

    Attributes:
        rows: the best of what is allowed and not seen, best first, shape [K].
        scores: their relevance, shape [K].
        theta: the user's taste, shape [D].
        seen: what is allowed and seen, ascending, shape [S].
    """

    rows: Integers
    scores: Floats
    theta: Floats
    seen: Integers


Search = Callable[
    [Sequence[SlateRequest], Sequence[Profile], Catalogue, StatisticsView, PolicySettings], list[Found | None]
]
"""Searches for many users at once; None for a request of which all rows are to be scored."""

Shortlist = Callable[[SlateRequest, Profile, Catalogue, StatisticsView, PolicySettings], Integers | None]
"""Gives the rows that hold the k best and all that tie with the kth, ascending; None when all are to be scored."""


def prepare_search(catalogue: Catalogue) -> None:
    """Make what searching a catalogue takes, before the first request meets it."""
    if catalogue.size >= SEARCHED_ROWS:
        warm_up()
        catalogue.derived(ItemIndex)


def search_default(
    requests: Sequence[SlateRequest],
    profiles: Sequence[Profile],
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
) -> list[Found | None]:
    """Return what greedy and epsilon_greedy find.

    The score of an unseen item is m_i + t/(t + 3) theta_c . x_i, and so its order is that of the index.
    """
    found: list[Found | None] = [None] * len(requests)
    searched = [place for place, request in enumerate(requests) if _is_searched(request, catalogue, SEARCHED_ROWS)]
    if not searched:
        return found
    index = catalogue.derived(ItemIndex)
    means = statistics.means(settings.k0, settings.prior)
    thetas = tastes([profiles[place] for place in searched], catalogue, statistics, settings)
    alike: defaultdict[int, list[tuple[int, Floats, Integers, Integers]]] = defaultdict(list)
    for place, theta in zip(searched, thetas, strict=True):
        left_out, seen = _part(requests[place].rows, profiles[place], catalogue.size)
        if len(left_out) <= _FEW_EXCLUDED:
            alike[requests[place].k].append((place, theta, left_out, seen))
            continue
        column = index.column(means, _all_but(left_out, catalogue.size))
        best = index.top_k(theta[np.newaxis], column, requests[place].k)
        found[place] = Found(best.rows[0, : best.counts[0]], best.scores[0, : best.counts[0]], theta, seen)
    for k, together in alike.items():
        places, own, excluded, seens = zip(*together, strict=True)
        best = index.top_k(np.stack(own), index.column(means), k, excluded, _WORTH_A_THREAD_NS)
        for at, (place, theta, seen, n) in enumerate(zip(places, own, seens, best.counts.tolist(), strict=True)):
            found[place] = Found(best.rows[at, :n], best.scores[at, :n], theta, seen)
    return found


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
    if not _is_searched(request, catalogue, SHORTLISTED_ROWS):
        return None
    index = catalogue.derived(ItemIndex)
    theta = taste(profile, catalogue, statistics, settings)
    left_out, seen = _part(request.rows, profile, catalogue.size)
    untried = statistics.counts == 0
    untried[left_out] = False
    if np.count_nonzero(untried) < request.k:
        return None
    highest, lift = highest_and_lift(theta, catalogue, statistics, settings)
    column = index.column(statistics.means(settings.k0, settings.prior), untried)
    found = index.shortlist(theta, column, request.k, slack=_ROUNDING * (highest + lift))
    return None if found is None else np.union1d(found, seen)


def _is_searched(request: SlateRequest, catalogue: Catalogue, least: int) -> bool:
    """Return whether the index serves: for many rows of the catalogue, in its order."""
    n = len(request.rows)
    if n < least or n * _SPARSE < catalogue.size:
        return False
    return isinstance(request.rows, AllBut) or bool((np.diff(request.rows) > 0).all())


def _part(rows: Integers | AllBut, profile: Profile, size: int) -> tuple[Integers, Integers]:
    """Return, both ascending, what is not to be found, the seen among it, and the seen that is allowed."""
    seen = np.sort(profile.rows)
    if isinstance(rows, AllBut):
        out = rows.left_out
        allowed = seen[~rows.leaves_out(seen)]
        return (np.union1d(out, allowed) if len(allowed) else out), allowed
    others = _all_but(rows, size)
    allowed = seen[~others[seen]]
    others[seen] = True
    return np.flatnonzero(others), allowed


def _all_but(rows: Integers, size: int) -> Flags:
    flags = np.ones(size, dtype=np.bool_)
    flags[rows] = False
    return flags
