"""What an event and a request cost at one size, in processor time of the process and of the store."""

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.scaling_sides.worlds import Sizes, World

Work = Literal["event", "request"]


@dataclass(frozen=True, slots=True)
class Point:
    """One kind of work at one size.

    Attributes:
        work: what is done.
        sizes: of the world it is done in.
        together: users in one commit or micro-batch.
        k: items asked for; 0 for events.
    """

    work: Work
    sizes: Sizes
    together: int
    k: int = 0


@dataclass(slots=True)
class Costs:
    """Microseconds of processor time an event or a request, one figure a repeat.

    Attributes:
        own: of the worker's or the scorer's code.
        store: of the store.
    """

    own: list[float]
    store: list[float]

    @property
    def own_us(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.own)

    @property
    def store_us(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.store)


def measure_points(points: Sequence[Point], worlds: dict[Sizes, World], operations: int, repeats: int) -> list[Costs]:
    """Return what each point costs; every repeat goes through all of them in turn.

    Args:
        points: what to measure.
        worlds: ready-made, by their sizes.
        operations: events or requests of one turn, at least; each turn has four commits or micro-batches or more.
        repeats: how many turns each has, after one that does not count.
    """
    found = [Costs([], []) for _ in points]
    for repeat in range(repeats + 1):
        for point, costs in zip(points, found, strict=True):
            gc.collect()
            own, store = _cost_us(point, worlds[point.sizes], operations)
            if repeat:
                costs.own.append(own)
                costs.store.append(store)
    return found


def _cost_us(point: Point, world: World, operations: int) -> tuple[float, float]:
    times = max(operations // point.together, 4)
    own, store = time.process_time(), world.store_cpu_s()
    for _ in range(times):
        if point.work == "event":
            world.apply(point.together)
        else:
            world.answer(point.together, point.k)
    per_us = 1e6 / (times * point.together)
    return (time.process_time() - own) * per_us, (world.store_cpu_s() - store) * per_us
