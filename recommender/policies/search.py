"""What of a catalogue can be among the best, found by an index instead of a score for every row.

What the user rated is scored by itself: novelty is its own. All else is ordered by inner products, as an index orders
it. The rule and the order of ties give the same slate from what is found as from all rows.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.catalogue import Catalogue
from recommender.policies.default import highest_and_lift
from recommender.policies.linear import LINEAR, posterior_of
from recommender.policies.models import model_of
from recommender.policies.protocol import Asked, SlateRequest
from recommender.policies.scores import products_of
from recommender.policies.sequence import aligned_of, state_of
from recommender.policies.settings import PolicySettings
from recommender.policies.taste import taste, tastes
from recommender.profile import Profile
from recommender.rl.indices import INDICES
from recommender.rl.model import ACTORS, AlignedActor
from recommender.rows import AllBut
from recommender.sequence.model import SEQUENCE
from recommender.statistics import StatisticsView
from recommender.topk.index import ItemIndex, warm_up

SEARCHED_ROWS = 2048
"""Below this many rows all are scored: a small site starts sooner with nothing to compile."""
SHORTLISTED_ROWS = 8192
"""The same where one user is searched for and what equals the kth is wanted too."""

_WORTH_A_THREAD_NS = 1_000_000
"""A scorer's other work wants the cores too."""
_SPARSE = 16
_FEW_EXCLUDED = 512
_ROUNDING = 2.0**-49


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """How users see what they have not rated: relevance(i) = values_i + theta . x_i.

    Attributes:
        index: of the vectors x, shape [N, D].
        values: what is added, shape [N].
        thetas: of each user, shape [B, D].
    """

    index: ItemIndex
    values: Floats
    thetas: Floats

    def relevance(self, rows: Integers, user: int) -> Floats:
        """Return the relevance of some rows to a user, shape [M]."""
        return np.asarray(self.values[rows] + products_of(rows, self.thetas[user], self.index.vectors))


OrderOf = Callable[[Sequence[Profile], Catalogue, StatisticsView, PolicySettings], Order]
"""Users to how a rule orders what they have not rated; their relevance is the rule's, bit for bit."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the index found for one request.

    Attributes:
        rows: the best of what is allowed and not seen, best first, shape [K].
        scores: their relevance, shape [K].
        seen: what is allowed and seen, ascending, shape [S].
        order: what they are ordered by.
        user: the user's place in it.
    """

    rows: Integers
    scores: Floats
    seen: Integers
    order: Order
    user: int


Shortlist = Callable[[SlateRequest, Profile, Catalogue, StatisticsView, PolicySettings], Integers | None]
"""Gives the rows that hold the k best and all that tie with the kth, ascending; None when all are to be scored."""


def prepare_search(catalogue: Catalogue) -> None:
    """Make what searching a catalogue takes, before the first request meets it."""
    for name in ACTORS:
        if name in catalogue.models and isinstance(actor := catalogue.models[name].value, AlignedActor):
            actor.model.warm_up()
    if catalogue.size >= SEARCHED_ROWS:
        warm_up()
        catalogue.derived(ItemIndex)
        for name, model in catalogue.models.items():
            if name not in ACTORS:
                model.derived(ItemIndex)
            elif isinstance(actor := model.value, AlignedActor) and actor.model.distance in INDICES:
                model.derived(INDICES[actor.model.distance])


def order_default(
    profiles: Sequence[Profile], catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Order:
    """Return the order of greedy and epsilon_greedy: m_i + t/(t + 3) theta_c . x_i."""
    means = statistics.means(settings.k0, settings.prior)
    return Order(catalogue.derived(ItemIndex), means, tastes(profiles, catalogue, statistics, settings))


def order_linear(
    profiles: Sequence[Profile], catalogue: Catalogue, statistics: StatisticsView, settings: PolicySettings
) -> Order:
    """Return the order of a greedy linear: m_i + mean . [1, x_i]."""
    thetas = [posterior_of(profile, catalogue, statistics, settings).mean for profile in profiles]
    means = statistics.means(settings.k0, settings.prior)
    return Order(model_of(catalogue, LINEAR).derived(ItemIndex), means, np.stack(thetas))


def order_sequence(
    profiles: Sequence[Profile],
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,  # noqa: ARG001 - every order is given them
) -> Order:
    """Return the order of sequence: (b_i + a log q_i) + theta . x_i."""
    model = aligned_of(catalogue)
    thetas = [state_of(profile, model) for profile in profiles]
    return Order(model_of(catalogue, SEQUENCE).derived(ItemIndex), model.prior(statistics), np.stack(thetas))


def search(
    asked: Sequence[Asked],
    order_of: OrderOf,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
) -> list[Found | None]:
    """Return what is found for each request, all searched for at once; None where all rows are to be scored."""
    found: list[Found | None] = [None] * len(asked)
    searched = [place for place, one in enumerate(asked) if is_searched(one.request, catalogue, SEARCHED_ROWS)]
    if not searched:
        return found
    order = order_of([asked[place].profile for place in searched], catalogue, statistics, settings)
    alike: defaultdict[int, list[tuple[int, Integers, Integers]]] = defaultdict(list)
    for user, place in enumerate(searched):
        request, profile = asked[place].request, asked[place].profile
        left_out, seen = _part(request.rows, profile, catalogue.size)
        if len(left_out) <= _FEW_EXCLUDED:
            alike[request.k].append((user, left_out, seen))
            continue
        column = order.index.column(order.values, _all_but(left_out, catalogue.size))
        best = order.index.top_k(order.thetas[user : user + 1], column, request.k)
        n = best.counts[0]
        found[place] = Found(best.rows[0, :n], best.scores[0, :n], seen, order, user)
    for k, together in alike.items():
        users, excluded, seens = zip(*together, strict=True)
        column = order.index.column(order.values)
        best = order.index.top_k(order.thetas[list(users)], column, k, excluded, _WORTH_A_THREAD_NS)
        for at, (user, seen, n) in enumerate(zip(users, seens, best.counts.tolist(), strict=True)):
            found[searched[user]] = Found(best.rows[at, :n], best.scores[at, :n], seen, order, user)
    return found


def shortlist_beliefs(
    request: SlateRequest,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
    thetas: Floats,
) -> Integers | None:
    """Return what holds the best of linear by any of ``thetas``, shape [T, E]; rows, ascending."""
    if not is_searched(request, catalogue, SHORTLISTED_ROWS):
        return None
    means = statistics.means(settings.k0, settings.prior)
    index = model_of(catalogue, LINEAR).derived(ItemIndex)
    left_out, seen = _part(request.rows, profile, catalogue.size)
    column = index.column(means, _all_but(left_out, catalogue.size) if len(left_out) > _FEW_EXCLUDED else None)
    excluded = [left_out] * len(thetas) if len(left_out) <= _FEW_EXCLUDED else None
    found = index.top_k(thetas, column, request.k, excluded)
    return np.union1d(found.rows[np.arange(request.k) < found.counts[:, np.newaxis]], seen)


def shortlist_ucb(
    request: SlateRequest,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    settings: PolicySettings,
) -> Integers | None:
    """Return what holds the best of ucb, if nobody rated enough unseen items: some of those, and the seen.

    What somebody rated is scored without products, which is as fast as any search.
    """
    if not is_searched(request, catalogue, SHORTLISTED_ROWS):
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


def positions_of(rows: Integers, among: Integers | AllBut) -> Integers:
    """Return where some of ascending rows stand, in the order given."""
    return among.positions_of(rows) if isinstance(among, AllBut) else np.searchsorted(among, rows)


def is_searched(request: SlateRequest, catalogue: Catalogue, least: int) -> bool:
    """Return whether the index serves: for many rows of the catalogue, in its order."""
    n = len(request.rows)
    if n < least or n * _SPARSE < catalogue.size:
        return False
    return isinstance(request.rows, AllBut) or bool((np.diff(request.rows) > 0).all())


def rows_left_out(rows: Integers | AllBut, size: int) -> Integers:
    """Return the rows of a catalogue that are not among some, ascending."""
    return rows.left_out if isinstance(rows, AllBut) else np.flatnonzero(_all_but(rows, size))


def _part(rows: Integers | AllBut, profile: Profile, size: int) -> tuple[Integers, Integers]:
    """Return, both ascending, what is not to be found, the seen among it, and the seen that is allowed."""
    seen = np.sort(profile.rows)
    if isinstance(rows, AllBut):
        allowed = seen[~rows.leaves_out(seen)]
        return (np.union1d(rows.left_out, allowed) if len(allowed) else rows.left_out), allowed
    others = _all_but(rows, size)
    allowed = seen[~others[seen]]
    others[seen] = True
    return np.flatnonzero(others), allowed


def _all_but(rows: Integers, size: int) -> Flags:
    flags = np.ones(size, dtype=np.bool_)
    flags[rows] = False
    return flags
