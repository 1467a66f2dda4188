"""The notebook's own loop over items, one user at a time: a table of items, a function of each of its rows."""

import math

import numpy as np
import pandas as pd

from benchmarks.ranking_sides.world import Find, World

_MEMORY = 200.0


def make_loop(world: World) -> Find:
    """Return the loop, with the notebook's novelty and bonus."""
    items = pd.DataFrame(world.single.astype(np.float64), columns=[f"x{d}" for d in range(world.dim)])
    features = list(items.columns)
    items["last_t"], items["Nt"] = 1, 0

    def find(thetas: np.ndarray, k: int, epoch: int = 10) -> list[list[int]]:
        found = []
        for theta in thetas:
            scores = []
            for row in range(len(items)):
                item = items.iloc[row]
                novelty = 1.0 - math.exp(-(epoch - item["last_t"]) / _MEMORY)
                bonus = math.sqrt(2 * math.log2(epoch + 1) / (item["Nt"] * epoch)) if item["Nt"] > 0 else 0.0
                scores.append(np.dot(theta, item[features].to_numpy()) * novelty + bonus)
            found.append(sorted(range(len(scores)), key=lambda row: -scores[row])[:k])
        return found

    return find
