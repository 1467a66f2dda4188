"""Why an answer is what it is: the exact arithmetic of every score, the draws, and the user's ratings behind it."""

from typing import Any

import numpy as np

from recommender.arrays import Floats
from recommender.catalogue import Catalogue
from recommender.draws import Draws
from recommender.policies import Policy, PolicySettings, Slate
from recommender.policies.scores import Terms, products_at
from recommender.policies.taste import HALF_TRUST_T, taste
from recommender.profile import Profile
from recommender.statistics import StatisticsView, means_of_others
from recommender.topk import top_k
from schemas.codec import RATING_QUANTUM

RATINGS_NAMED = 3
_FORMULA = "prior + personal = relevance; relevance * novelty + bonus = score"


def explain(
    policy: Policy,
    settings: PolicySettings,
    slate: Slate,
    profile: Profile,
    catalogue: Catalogue,
    statistics: StatisticsView,
    draws: Draws,
) -> dict[str, Any]:
    """Return the explanation of a slate.

    Per item: ``prior + personal = relevance`` and ``relevance * novelty + bonus (+ lift) = score``, each with the very
    numbers that were added; ``ratings`` are the user's own that move ``personal`` most, and their shares of it.

    Args:
        policy: what made the slate.
        settings: its parameters.
        slate: what was shown.
        profile: the user.
        catalogue: the items.
        statistics: of all items.
        draws: the draws of the request.
    """
    name, rows = slate.fallback or policy.name, slate.rows
    terms = policy.terms(rows, profile, catalogue, statistics)
    if terms is not None:
        items = _explain_terms(terms, slate, profile, catalogue)
        return _frame(_FORMULA, items, profile, slate, draws, statistics.global_mean(settings.prior))
    is_compat = name.endswith("_compat")
    theta = profile.theta if is_compat else taste(profile, catalogue, statistics, settings)
    personal = products_at(rows, theta, catalogue)
    prior = np.zeros(len(rows)) if is_compat else statistics.means(settings.k0, settings.prior)[rows]
    weights = _weights(profile, statistics, settings, is_compat=is_compat)
    items = []
    for slot, row in enumerate(rows.tolist()):
        parts = slate.parts[slot]
        is_tried = name == "ucb" and not parts["untried"]
        items.append(
            {
                "item_id": catalogue.item_ids[row],
                "score": float(slate.scores[slot]),
                "prior": float(prior[slot]),
                "personal": 0.0 if is_tried else float(personal[slot]),
                **parts,
                "ratings": [] if is_tried else _name_ratings(row, weights, profile, catalogue),
            }
        )
    lift = " (an untried item's bonus is infinite: lift stands for it)" if name.startswith("ucb") else ""
    global_mean = None if is_compat else statistics.global_mean(settings.prior)
    return _frame(_FORMULA + lift, items, profile, slate, draws, global_mean)


def _explain_terms(terms: Terms, slate: Slate, profile: Profile, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return the items of a policy with a model: ``general`` and the shares of all ratings make up ``personal``."""
    return [
        {
            "item_id": catalogue.item_ids[row],
            "score": float(slate.scores[slot]),
            "prior": float(terms.prior[slot]),
            "personal": float(terms.personal[slot]),
            "general": float(terms.general[slot]),
            **slate.parts[slot],
            "ratings": _name_shares(terms.shares[slot], profile, catalogue),
        }
        for slot, row in enumerate(slate.rows.tolist())
    ]


def _frame(
    formula: str,
    items: list[dict[str, Any]],
    profile: Profile,
    slate: Slate,
    draws: Draws,
    global_mean: float | None,
) -> dict[str, Any]:
    coins = [draws.uniform(slot) for slot in range(len(slate.rows))] if slate.epsilon else []
    return {
        "formula": formula,
        "t": profile.t,
        "global_mean": global_mean,
        "items": items,
        "draws": {"seed": draws.seed, "epsilon": slate.epsilon, "coins": coins},
    }


def _weights(profile: Profile, statistics: StatisticsView, settings: PolicySettings, *, is_compat: bool) -> Floats:
    """Return w_j of theta = sum_j w_j x_j over the user's rated items, shape [S]."""
    ratings = profile.sums / RATING_QUANTUM
    if is_compat:
        return np.asarray(ratings / max(profile.t, 1))
    means = means_of_others(statistics, profile.rows, profile.counts, profile.sums, settings.k0, prior=settings.prior)
    return np.asarray((ratings - profile.counts * means) / (profile.t + HALF_TRUST_T))


def _name_ratings(row: int, weights: Floats, profile: Profile, catalogue: Catalogue) -> list[dict[str, Any]]:
    return _name_shares(weights * products_at(profile.rows, catalogue.vectors[row], catalogue), profile, catalogue)


def _name_shares(shares: Floats, profile: Profile, catalogue: Catalogue) -> list[dict[str, Any]]:
    named = top_k(np.abs(shares), None, RATINGS_NAMED)
    return [
        {
            "item_id": catalogue.item_ids[profile.rows[place]],
            "rating": float(profile.sums[place] / RATING_QUANTUM / profile.counts[place]),
            "count": int(profile.counts[place]),
            "share": float(shares[place]),
        }
        for place in named.tolist()
        if shares[place] != 0.0
    ]
