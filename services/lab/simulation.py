"""Several policies in the same experiment, and the files that say what came of it."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recommender.arrays import Integers
from recommender.policies import POLICIES, POLICY_MODELS, PolicySettings, make_policy
from recommender.policies.bandit import BanditPolicy
from recommender.simulation.curves import Curve
from recommender.simulation.experiment import MakePlayer, Mode, Outcomes, Terms, simulate
from recommender.simulation.people import Block, People
from recommender.simulation.players import BanditPlayer
from schemas.errors import ConfigurationError
from services.lab.plugins import PluginPlayer, load_plugin

COMPAT_SUFFIX = "_compat"
_SIMULATED = [name for name in POLICIES if name not in POLICY_MODELS]
"""Policies with a model of their own are for `streamrec evaluate`."""

CHOICES = pa.schema(
    [
        ("policy", pa.string()),
        ("user_id", pa.string()),
        ("step", pa.int32()),
        ("item_id", pa.string()),
        ("score", pa.float64()),
        ("rating", pa.float64()),
        ("explored", pa.bool_()),
    ]
)


def name_policies(names: Sequence[str], mode: Mode) -> list[str]:
    """Return the policies by their names in the project; in compat mode ``greedy`` is ``greedy_compat``.

    Raises:
        ConfigurationError: a name is unknown, or comes twice.

    >>> name_policies(["greedy", "mine:Policy"], "compat"), name_policies(["greedy"], "default")
    (['greedy_compat', 'mine:Policy'], ['greedy'])
    """
    named = []
    for name in names:
        is_short = mode == "compat" and ":" not in name and not name.endswith(COMPAT_SUFFIX)
        named.append(name + COMPAT_SUFFIX if is_short else name)
        if ":" not in name and named[-1] not in _SIMULATED:
            raise ConfigurationError(f"policy must be one of {', '.join(_SIMULATED)} or module:object, got {name!r}")
    if len(set(named)) < len(named):
        raise ConfigurationError(f"each policy must be named once, got {', '.join(named)}")
    return named


def run_policy(people: People, name: str, terms: Terms, settings: PolicySettings, seed: int) -> Outcomes:
    """Return what comes of the experiment with one policy.

    Args:
        people: the users and what they rated.
        name: as :func:`name_policies` gives it.
        terms: how the experiment is run.
        settings: parameters of the policy.
        seed: of every draw.

    Raises:
        ConfigurationError: a policy of the user's own cannot be found.
        PolicyError: it failed, or picked what was not offered.
    """
    return simulate(people, _player_maker(people, name, settings, seed), terms, time.perf_counter)


def _player_maker(people: People, name: str, settings: PolicySettings, seed: int) -> MakePlayer:
    if ":" in name:
        plugin = load_plugin(name)
        return lambda block: PluginPlayer(name, plugin, seed, settings.s, block)
    policy = make_policy(name, settings)
    assert isinstance(policy, BanditPolicy)

    def make_player(block: Block) -> BanditPlayer:
        return BanditPlayer(policy, seed, [people.user_ids[user] for user in block.users.tolist()])

    return make_player


def count_differences(
    people: People, online: Mapping[str, Outcomes], offline: Mapping[str, Outcomes]
) -> tuple[int, str | None]:
    """Return how many choices differ in item or score, and the first of them in words."""
    count, first = 0, None
    for name, heard in online.items():
        expected = offline[name]
        differs = (heard.rows != expected.rows) | (heard.scores != expected.scores)
        places: Integers = np.argwhere(differs)
        count += len(places)
        if len(places) and first is None:
            user, step = places[0].tolist()
            item_ids = people.catalogue.item_ids
            first = (
                f"{name}, user {people.user_ids[user]!r}, step {step}: {item_ids[heard.rows[user, step]]!r} "
                f"({heard.scores[user, step]!r}) on line, {item_ids[expected.rows[user, step]]!r} "
                f"({expected.scores[user, step]!r}) off line"
            )
    return count, first


def write_choices(path: Path, people: People, outcomes: Iterable[tuple[str, Outcomes]]) -> int:
    """Write a row a policy, user and step, in this order of sorting, and return how many.

    Columns are those of :data:`CHOICES`: ``step`` is t, from 0; ``score`` is null where the policy gives none.
    """
    rows = 0
    with pq.ParquetWriter(path, CHOICES) as writer:
        for name, each in outcomes:
            writer.write_table(_table_of(name, people, each))
            rows += int((each.rows >= 0).sum())
    return rows


def _table_of(name: str, people: People, outcomes: Outcomes) -> pa.Table:
    users, steps = np.nonzero(outcomes.rows >= 0)
    taken = users, steps
    scores = outcomes.scores[taken]
    columns: list[Any] = [
        pa.repeat(name, len(users)),
        pa.array(people.user_ids, pa.string()).take(pa.array(users)),
        pa.array(steps, pa.int32()),
        pa.array(people.catalogue.item_ids, pa.string()).take(pa.array(outcomes.rows[taken])),
        pa.array(scores, pa.float64(), mask=np.isnan(scores)),
        pa.array(outcomes.ratings[taken]),
        pa.array(outcomes.explored[taken]),
    ]
    return pa.Table.from_arrays(columns, schema=CHOICES)


def write_curves(path: Path, curves: Mapping[str, Mapping[str, Curve]]) -> None:
    """Write a row a policy and number of steps, from 0: of each measure the mean over users and NAME_se, its error.

    What is not known (a mean of nobody, an error of one user) is null.
    """
    tables = []
    for name, measures in curves.items():
        length = len(next(iter(measures.values())).mean)
        columns = {"policy": pa.repeat(name, length), "step": pa.array(np.arange(length), pa.int32())}
        for measure, curve in measures.items():
            columns[measure] = pa.array(curve.mean, mask=np.isnan(curve.mean))
            columns[f"{measure}_se"] = pa.array(curve.error, mask=np.isnan(curve.error))
        tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), path)
