"""The off-line experiment, vectorised over users, beside the loop that the notebook has, on MovieLens-100k.

300 users, 100 steps, compat mode. The loop is slow, so it runs on fewer users, spread evenly over the numbers of
candidates that people have; both sides are given per step of one user. Ours includes making the arrays. The ratio
``ours_vs_loop`` is of the notebook's three policies together.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.harness import Measurement, Row, Side, measure, ratio, read_arguments, report
from benchmarks.simulation_sides.loop import Loop
from recommender.policies import PolicySettings
from recommender.simulation.experiment import Terms
from recommender.simulation.people import People
from recommender.simulation.players import draws_of
from schemas.codec import RATING_QUANTUM
from services.lab.datasets import load_dataset, rating_events
from services.lab.people import gather_people
from services.lab.simulation import run_policy
from services.lab.vectors import train_vectors

POLICIES = ("random_compat", "greedy_compat", "epsilon_greedy_compat")
USERS, STEPS, SEED = 300, 100, 7
LOOP_USERS, QUICK_LOOP_USERS = 10, 3
SETTINGS = PolicySettings()


def main() -> None:
    """Measure and report."""
    arguments = read_arguments("simulation", str(__doc__))
    people = _gather()
    loop_users = _spread(people, QUICK_LOOP_USERS if arguments.quick else LOOP_USERS)
    sides = []
    for policy in POLICIES:
        sides.append(Side(f"loop, {policy}", _make_loop(people, loop_users, policy), len(loop_users) * STEPS))
        ours = partial(run_policy, people, policy, Terms(steps=STEPS), SETTINGS, SEED)
        sides.append(Side(f"ours, {policy}", ours, USERS * STEPS))
    found = measure(sides, repeats=2 if arguments.quick else 5)
    together = {side: _sum(side, [found[f"{side}, {policy}"] for policy in POLICIES]) for side in ("loop", "ours")}
    ratios = {"ours_vs_loop": ratio(together["loop"], together["ours"])}
    for policy in POLICIES:
        each = policy.removesuffix("_compat")
        ratios[f"ours_vs_loop_{each}"] = ratio(found[f"loop, {policy}"], found[f"ours, {policy}"])
    rows = [_make_row(measured, people, loop_users) for measured in found.values()]
    report("simulation", rows, ratios, packages=["numpy", "pandas"], as_json=arguments.json)


def _gather() -> People:
    dataset = load_dataset("movielens-100k")
    vectors_of = train_vectors("pca", dataset.items, SEED).vectors_for
    return gather_people(rating_events(dataset.ratings), dataset.items, vectors_of, users=USERS, seed=SEED)


def _spread(people: People, users: int) -> list[int]:
    """Return users at the middles of so many equal parts of all users, ordered by their number of candidates."""
    by_size = np.argsort(people.sizes, kind="stable")
    return [int(by_size[int((part + 0.5) * len(by_size) / users)]) for part in range(users)]


def _make_loop(people: People, users: list[int], policy: str) -> Callable[[], None]:
    worlds = []
    for user in users:
        span = slice(people.starts[user], people.starts[user + 1])
        ids = [people.catalogue.item_ids[row] for row in people.rows[span].tolist()]
        movies = pd.DataFrame(people.catalogue.vectors[people.rows[span]], index=ids)
        worlds.append(
            (people.user_ids[user], movies, dict(zip(ids, people.ratings[span] / RATING_QUANTUM, strict=True)))
        )
    loop = Loop(policy, SETTINGS.s, SETTINGS.compat_epsilon)

    def run() -> None:
        for user_id, movies, ratings in worlds:
            for _ in loop.run(movies, ratings, STEPS, partial(draws_of, SEED, policy, user_id)):
                pass

    return run


def _sum(name: str, parts: list[Measurement]) -> Measurement:
    return Measurement(name, tuple(sum(each) for each in zip(*(part.seconds for part in parts), strict=True)))


def _make_row(measured: Measurement, people: People, loop_users: list[int]) -> Row:
    taken = loop_users if measured.name.startswith("loop") else range(len(people.user_ids))
    candidates = people.sizes[list(taken)].mean()
    return dict(measured.row()) | {"users": len(taken), "candidates_a_user": round(float(candidates), 1)}


if __name__ == "__main__":
    main()
