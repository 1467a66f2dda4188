"""Policies of the user's own in the experiment: a function, or a class as the notebook has them."""

import importlib
import inspect
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recommender.arrays import Flags, Floats, Integers
from recommender.profile import update_mean
from recommender.simulation.people import Block
from recommender.simulation.players import Picks, draws_of, predict_compat
from recommender.simulation.rules import products
from recommender.simulation.table import Table
from schemas.errors import ConfigurationError, PolicyError


def load_plugin(name: str) -> Any:
    """Return the object that ``module:object`` names, modules of the working directory included.

    Raises:
        ConfigurationError: there is none, or it can be neither called nor made.
    """
    module_name, _, path = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"policy {name!r} cannot be found: {error}") from error
    is_notebooks = inspect.isclass(found) and callable(getattr(found, "choice", None))
    if not is_notebooks and (inspect.isclass(found) or not callable(found)):
        raise ConfigurationError(
            f"policy {name!r} must be a callable (items, theta, counts, last_t, epoch) or a class with "
            "choice(user_features, movies, epoch, s)"
        )
    return found


class PluginPlayer:
    """A policy of the user's own on a block; see :class:`recommender.simulation.players.Player`.

    A function gets ``items`` (a data frame of the open candidates' vectors, item_id as index), ``theta``, ``counts``,
    ``last_t`` and ``epoch``, and returns an item_id. Of a class every user gets an instance; its ``choice`` gets
    ``user_features``, ``movies`` (a data frame with ``last_t``, ``Nt`` and then the vectors), ``epoch`` and ``s``, and
    returns an item_id, or a row of ``movies``. Where it has ``update_features(user_features, movie_features, rating,
    t)`` and ``compute_utility(user_features, movie_features, epoch, s)``, they stand for the iterative mean and the
    prediction.

    Before an instance is made, and before every choice, ``random`` and ``numpy.random`` are seeded with the step's own
    draws.

    Args:
        name: ``module:object``.
        plugin: what :func:`load_plugin` gave.
        seed: of every draw.
        s: memory of novelty.
        block: the users.

    Raises:
        PolicyError: an instance could not be made.
    """

    def __init__(self, name: str, plugin: Any, seed: int, s: float, block: Block) -> None:
        self._name, self._seed, self._s = name, seed, s
        catalogue = block.people.catalogue
        self._user_ids = [block.people.user_ids[user] for user in block.users.tolist()]
        ids = np.array(catalogue.item_ids, dtype=object)
        names = [f"x{d}" for d in range(catalogue.dim)]
        self._items = [
            pd.DataFrame(catalogue.vectors[rows[own]], index=pd.Index(ids[rows[own]], name="item_id"), columns=names)
            for rows, own in zip(block.rows, block.is_candidate, strict=True)
        ]
        self._function = None if inspect.isclass(plugin) else plugin
        self._instances: Sequence[Any] = [None] * len(self._user_ids)
        if inspect.isclass(plugin):
            self._instances = [self._make_instance(user, plugin) for user in range(len(self._user_ids))]

    def choose(self, table: Table, plays: Flags) -> Picks:
        """Return the pick of each user who plays."""
        columns = np.zeros(len(plays), dtype=np.int64)
        for user in np.flatnonzero(plays).tolist():
            self._seed_globals(user, table.t, slot=0)
            columns[user] = self._choose_for(user, table)
        x = table.vectors_at(columns)
        nothing = np.zeros(len(plays), dtype=np.bool_)
        return Picks(columns, np.full(len(plays), np.nan), nothing, self._expect(table, table.theta, x, plays))

    def learn(self, table: Table, x: Floats, ratings: Floats) -> Floats:
        """Return the users' features after their ratings."""
        theta = update_mean(table.theta, table.t, ratings[:, np.newaxis] * x)
        for user, instance in enumerate(self._instances):
            if table.n_open[user] and hasattr(instance, "update_features"):
                found = self._call(
                    user, table.t, instance.update_features, table.theta[user].copy(), x[user], ratings[user], table.t
                )
                theta[user] = self._numbers(user, table.t, found, (table.theta.shape[1],))
        return theta

    def predict(self, table: Table, theta: Floats, x: Floats) -> Floats:
        """Return the notebook's prediction of the ratings just given."""
        predicted = predict_compat(theta, x, table.t, self._s)
        return self._ask_utility(table, theta, x, table.n_open > 0, predicted)

    def _expect(self, table: Table, theta: Floats, x: Floats, plays: Flags) -> Floats:
        """Return what the users' ratings are expected to be, before they are known: theta . x where it is not said."""
        return self._ask_utility(table, theta, x, plays, products(theta, x.T[..., np.newaxis])[:, 0])

    def _ask_utility(self, table: Table, theta: Floats, x: Floats, plays: Flags, otherwise: Floats) -> Floats:
        utilities = otherwise.copy()
        for user, instance in enumerate(self._instances):
            if plays[user] and hasattr(instance, "compute_utility"):
                found = self._call(
                    user, table.t, instance.compute_utility, theta[user].copy(), x[user], table.t + 1, self._s
                )
                utilities[user] = self._numbers(user, table.t, found, ())
        return utilities

    def _make_instance(self, user: int, plugin: Any) -> Any:
        self._seed_globals(user, 0, slot=1)
        return self._call(user, 0, plugin)

    def _seed_globals(self, user: int, t: int, slot: int) -> None:
        draws = draws_of(self._seed, self._name, self._user_ids[user], t)
        random.seed(draws.word(slot, 0))
        np.random.seed(draws.word(slot, 1) % 2**32)  # noqa: NPY002 - what notebooks draw from

    def _choose_for(self, user: int, table: Table) -> int:
        items = self._items[user]
        is_open = table.is_open[user, : len(items)]
        offered = items.loc[is_open]
        counts, last_t = (values[user, : len(items)][is_open].copy() for values in (table.counts, table.last_t))
        theta, epoch = table.theta[user].copy(), table.t + 1
        if self._function is not None:
            found = self._call(user, table.t, self._function, offered, theta, counts, last_t, epoch)
        else:
            movies = offered.copy()
            movies.insert(0, "Nt", counts)
            movies.insert(0, "last_t", last_t)
            found = self._call(user, table.t, self._instances[user].choice, theta, movies, epoch, self._s)
        return self._column_of(user, table.t, found, offered.index, np.flatnonzero(is_open))

    def _column_of(self, user: int, t: int, found: Any, offered: "pd.Index[Any]", columns: Integers) -> int:
        """Return the column of what was chosen: an item_id, a series of that name, or a frame of one row."""
        if isinstance(found, pd.DataFrame) and len(found) == 1:
            found = found.index[0]
        elif isinstance(found, pd.Series):
            found = found.name
        if not isinstance(found, str) or found not in offered:
            raise PolicyError(
                f"policy {self._name!r} must return one of the {len(offered)} items offered to user "
                f"{self._user_ids[user]!r} at step {t}, got {found!r}"
            )
        return int(columns[offered.get_loc(found)])

    def _numbers(self, user: int, t: int, found: Any, shape: tuple[int, ...]) -> Floats:
        values = self._call(user, t, lambda: np.asarray(found, dtype=np.float64))
        if values.shape != shape or not np.isfinite(values).all():
            raise PolicyError(
                f"policy {self._name!r} must give finite numbers of shape {list(shape)} for user "
                f"{self._user_ids[user]!r} at step {t}, got {found!r}"
            )
        return np.asarray(values)

    def _call(self, user: int, step: int, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:  # whatever the user's own code raises
            raise PolicyError(
                f"policy {self._name!r} failed for user {self._user_ids[user]!r} at step {step}: "
                f"{type(error).__name__}: {error}"
            ) from error
