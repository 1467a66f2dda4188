"""What the ratings met in the held-out splits come to: shares, errors, a paired comparison, curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recommender.arrays import Floats
from recommender.diversity import Diversity, DiversityLimits
from services.lab.contestants import ITEM_MEAN, RANDOM
from services.lab.evaluation import Bars, Report, SheetTable
from services.lab.plots import BAND_ERRORS, Line, Panel

BEST = "best"
CEILING = "ceiling"


class Split:
    """The ratings met in one split, by policy, each of shape [B, STEPS].

    Args:
        user_ids: the held-out users, B of them.
    """

    def __init__(self, user_ids: Sequence[str]) -> None:
        self.user_ids = tuple(user_ids)
        self.met: dict[str, Floats] = {}

    def add(self, name: str, met: Floats) -> None:
        """Take in what a policy met."""
        self.met[name] = met

    @property
    def width(self) -> float:
        """How far random is from the best possible, in rating units."""
        return float(self.met[BEST].mean() - self.met[RANDOM].mean())

    def share(self, name: str) -> float:
        """Return the share of the way from random to the best possible.

        >>> split = Split(["u"])
        >>> for name, rating in (("random", 3.0), ("best", 5.0), ("greedy", 4.5)):
        ...     split.add(name, np.full((1, 2), rating))
        >>> split.share("greedy")
        0.75
        """
        return float(self.met[name].mean() - self.met[RANDOM].mean()) / self.width

    def error(self, name: str) -> float:
        """Return the standard error of the share over the users: that of its linear form, both ends moving too."""
        share = self.share(name)
        rating, lowest, highest = (self.met[each].mean(axis=1) for each in (name, RANDOM, BEST))
        apart = (rating - lowest - share * (highest - lowest)) / self.width
        return float(apart.std(ddof=1) / math.sqrt(len(apart))) if len(apart) > 1 else math.nan


def compare(splits: Sequence[Split], name: str, other: str) -> dict[str, float]:
    """Return the mean difference of two policies' shares, its standard error and p, paired by user.

    A user is held out in several splits: the user's differences are averaged first, so that users count once. The error
    is that over users; how far the training half matters shows in the spread over splits. p is two-sided, normal.
    """
    differences: dict[str, list[float]] = {}
    for split in splits:
        apart = (split.met[name].mean(axis=1) - split.met[other].mean(axis=1)) / split.width
        for user_id, difference in zip(split.user_ids, apart.tolist(), strict=True):
            differences.setdefault(user_id, []).append(difference)
    of_users = np.array([np.mean(each) for each in differences.values()])
    mean = float(of_users.mean())
    error = float(of_users.std(ddof=1) / math.sqrt(len(of_users))) if len(of_users) > 1 else math.nan
    p = 1.0 if mean == 0.0 else math.erfc(abs(mean) / error / math.sqrt(2.0)) if error > 0 else math.nan
    return {"difference": mean, "se": error, "p": p, "users": float(len(of_users))}


def report_splits(splits: Sequence[Split], diversity: Mapping[str, Diversity], limits: DiversityLimits) -> Report:
    """Return figures, tables and plots of all splits."""
    names = [name for name in splits[0].met if name not in (RANDOM, BEST)]
    shares = {name: [split.share(name) for split in splits] for name in names}
    policies = [name for name in names if name != CEILING]
    gap = {name: float(np.mean(each)) for name, each in shares.items()}
    errors = {name: float(np.mean([split.error(name) for split in splits])) for name in names}
    paired = {name: compare(splits, name, ITEM_MEAN) for name in names if name != ITEM_MEAN}
    collapsed = {name: fault for name, each in diversity.items() if (fault := limits.fault_of(each))}
    figures: dict[str, Any] = {
        "gap_closed": {RANDOM: 0.0} | {name: gap[name] for name in policies},
        "gap_closed_se": {name: errors[name] for name in policies},
        "gap_closed_spread": {name: _spread(shares[name]) for name in policies},
        "paired_with_item_mean": {name: paired[name] for name in policies if name in paired},
        "ceiling": gap.get(CEILING),
        "mean_rating": {name: float(np.mean([split.met[name].mean() for split in splits])) for name in splits[0].met},
        "users": [len(split.user_ids) for split in splits],
        "diversity": {
            name: {
                "coverage": each.coverage,
                "intra_list_distance": each.intra_list_distance,
                "entropy_bits": each.entropy,
            }
            for name, each in diversity.items()
        },
        "collapsed": collapsed,
    }
    return Report(
        figures,
        [_gap_table(names, shares, errors, paired), _diversity_table(diversity, collapsed)],
        [
            Panel("cumulative regret against the best possible", [_regret(splits, name) for name in policies]),
            Panel("rating met at the step", [_rating(splits, name) for name in (*policies, RANDOM, BEST)]),
        ],
        [
            Bars("share of the way from random to the best possible", gap, errors),
            Bars(
                "share of the catalogue in the lists after 20 steps",
                {name: each.coverage for name, each in diversity.items()},
            ),
        ],
    )


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _gap_table(
    names: Sequence[str],
    shares: Mapping[str, Sequence[float]],
    errors: Mapping[str, float],
    paired: Mapping[str, Mapping[str, float]],
) -> SheetTable:
    rows = []
    for name in sorted(names, key=lambda name: -float(np.mean(shares[name]))):
        beside = paired.get(name)
        rows.append(
            (
                name,
                f"{np.mean(shares[name]):.3f} ± {errors[name]:.3f}",
                f"{_spread(shares[name]):.3f}",
                "" if beside is None else f"{beside['difference']:+.3f} ± {beside['se']:.3f}",
                "" if beside is None else f"{beside['p']:.2g}",
            )
        )
    header = ("policy", "share of the way, ± over users", "spread over splits", "beside item means", "p")
    return SheetTable("Held-out users: share of the way from random to the best possible, 20 steps", header, rows)


def _diversity_table(diversity: Mapping[str, Diversity], collapsed: Mapping[str, str]) -> SheetTable:
    rows = [
        (
            name,
            f"{each.coverage:.3f}",
            f"{each.intra_list_distance:.3f}",
            f"{each.entropy:.2f}",
            f"collapsed: {collapsed[name]}" if name in collapsed else "",
        )
        for name, each in diversity.items()
    ]
    header = ("policy", "coverage", "intra-list distance", "entropy, bits", "remark")
    return SheetTable("What each person would be shown next: 10 items out of the whole catalogue", header, rows)


def _rating(splits: Sequence[Split], name: str) -> Line:
    return _line(name, np.concatenate([split.met[name] for split in splits]))


def _regret(splits: Sequence[Split], name: str) -> Line:
    regrets = [np.cumsum(split.met[BEST] - split.met[name], axis=1) for split in splits]
    return _line(name, np.concatenate(regrets))


def _line(name: str, values: Floats) -> Line:
    """Return the mean by step with its band: users of several splits count as often as they were held out."""
    mean, error = values.mean(axis=0), values.std(axis=0) / math.sqrt(len(values))
    steps = np.arange(1, values.shape[1] + 1, dtype=np.float64)
    return Line(name, steps, mean, mean - BAND_ERRORS * error, mean + BAND_ERRORS * error)
