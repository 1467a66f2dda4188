"""What every protocol of `streamrec evaluate` takes and gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from recommender.catalogue import VectorsOf
from recommender.diversity import DiversityLimits
from recommender.factors.training import FactorSettings
from recommender.policies import PolicySettings
from recommender.rl.training import ActorSettings
from schemas.events import Item
from services.lab.plots import Panel

OnProgress = Callable[[str, int, int], None]
"""Told what is at work, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be evaluated.

    Attributes:
        name: of the data, for titles.
        items: the catalogue.
        ratings: user_id, item_id, rating and ts_ms, in the order of the log; each pair of user and item once.
        vectors_of: gives the items' vectors, for the policies that use them.
        policies: names, as the protocol knows them.
        settings: parameters of the policies.
        factors: how the model of ``linear`` is trained.
        actor: how those of :data:`~recommender.rl.model.ACTORS` are.
        scale: least and highest rating there can be.
        limits: below which a policy counts as collapsed.
        splits: seeds of the splits, where a protocol splits at random.
        on_progress: told how far it is.
    """

    name: str
    items: Sequence[Item]
    ratings: pd.DataFrame
    vectors_of: VectorsOf
    policies: Sequence[str]
    settings: PolicySettings = field(default_factory=PolicySettings)
    factors: FactorSettings = field(default_factory=FactorSettings)
    actor: ActorSettings = field(default_factory=ActorSettings)
    scale: tuple[float, float] = (0.5, 5.0)
    limits: DiversityLimits = field(default_factory=DiversityLimits)
    splits: Sequence[int] = (0, 1, 2, 3, 4)
    on_progress: OnProgress = lambda _what, _done, _total: None


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """A number for each policy.

    Attributes:
        title: what is drawn.
        values: by policy.
        errors: half the length of a line through a bar's end, by policy.
    """

    title: str
    values: Mapping[str, float]
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class SheetTable:
    """A table: cells as text, a row a policy."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What a protocol found.

    Attributes:
        figures: for JSON; their keys are the protocol's own.
        tables: for people.
        panels: curves.
        bars: a number a policy.
    """

    figures: Mapping[str, Any]
    tables: Sequence[SheetTable] = ()
    panels: Sequence[Panel] = ()
    bars: Sequence[Bars] = ()


RunProtocol = Callable[[Task], Report]
