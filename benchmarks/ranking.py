"""How long the exact top k takes: ours, the notebook's loop, numpy, torch, FAISS and usearch, on catalogues to 10M.

Every cell is a catalogue of N items of D numbers, B users asked for at once, and k. The sides run in turn, five times,
each for at least 20 ms. GB/s is what a side reads of the items in one call, in its own form, over the time the call
takes; beside it stands that share of the bandwidth that a sum over 1 GB reaches. A side that needs more memory than
there is, or more than a few seconds for a call, is listed with the reason and not run.

On a GPU (``--device cuda``) it compares ours with torch, and needs nothing but torch and numpy.
"""

import argparse
import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Measurement, Row, Side, add_arguments, measure, ratio, report
from benchmarks.ranking_sides.world import Find, World, make_world

SIZES, DIMS, BATCHES, DEPTHS = (
    (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    (16, 64, 128),
    (1, 8, 64, 512),
    (10, 100),
)
QUICK_SIZES, QUICK_DIMS, QUICK_BATCHES, QUICK_DEPTHS = (1_000, 100_000), (16, 64), (1, 64), (10,)
DEVICE_BATCHES = (1, 64, 1024)
LEAST_S = 0.02
LONGEST_S = {"torch": 8.0, "ours": 8.0}
LONGEST_OTHER_S = 0.7
BANDWIDTH_BYTES = 2**30
SPARE_BYTES = 2**30
LOOP = "notebook's loop"
FIGURES = ("median_us", "lowest_us", "highest_us", "gb_s", "of_bandwidth")


@dataclass(frozen=True, slots=True)
class Kind:
    """One side.

    Attributes:
        name: what the table calls it.
        make: makes it of a world.
        read_bytes: what one call reads of the items, from N and D.
        kept_bytes: what it keeps of the items beside the float32 vectors, from N and D.
        call_bytes: what a call needs, from N and B.
    """

    name: str
    make: Callable[[World], Find]
    read_bytes: Callable[[int, int], int]
    kept_bytes: Callable[[int, int], int]
    call_bytes: Callable[[int, int], int]


@dataclass(frozen=True, slots=True)
class Cell:
    """N, D, B and k."""

    size: int
    dim: int
    users: int
    k: int


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranking", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--device", default="cpu", help="cpu, or what torch calls a GPU")
    parser.add_argument("--sizes", default="", help="only catalogues of these sizes, by comma")
    arguments = parser.parse_args()
    is_cpu = arguments.device == "cpu"
    kinds = processor_kinds() if is_cpu else device_kinds(arguments.device)
    sizes, dims, batches, depths = grid(arguments.quick, is_cpu=is_cpu)
    if arguments.sizes:
        sizes = tuple(int(size) for size in arguments.sizes.split(","))
    bandwidth = measure_bandwidth(arguments.device)
    print(
        f"memory is read at {bandwidth / 1e9:.1f} GB/s; two threads do {measure_threads():.2f} times the work of one\n"
    )
    rows: list[Row] = []
    measured: dict[Cell, dict[str, Measurement]] = {}
    for size in sizes:
        for dim in dims:
            cells = [Cell(size, dim, users, k) for users in batches for k in depths]
            _measure_world(cells, kinds, bandwidth, rows, measured)
    packages = ("numpy", "torch", "faiss-cpu", "usearch", "numba", "pandas") if is_cpu else ("numpy", "torch")
    device = "cpu" if is_cpu else torch.cuda.get_device_name()
    report("ranking", rows, ratios_of(measured), packages=packages, as_json=arguments.json, device=device)


def grid(is_quick: bool, *, is_cpu: bool) -> tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]:
    """Return the sizes, dimensions, batches and depths to measure."""
    if is_quick:
        return QUICK_SIZES, QUICK_DIMS, QUICK_BATCHES, QUICK_DEPTHS
    return SIZES, DIMS, BATCHES if is_cpu else DEVICE_BATCHES, DEPTHS


def processor_kinds() -> list[Kind]:
    """Return the sides on a processor."""
    from benchmarks.ranking_sides import notebook, processor  # noqa: PLC0415 - a GPU machine may lack what they need

    def vectors(size: int, dim: int) -> int:
        return size * dim * 4

    def nothing(*_: int) -> int:
        return 0

    def scores(size: int, users: int) -> int:
        return size * users * 4

    return [
        Kind(LOOP, notebook.make_loop, lambda size, dim: 8 * size * dim, nothing, nothing),
        Kind("numpy", processor.make_numpy, vectors, nothing, lambda size, users: 3 * scores(size, users)),
        Kind("torch", processor.make_torch, vectors, nothing, scores),
        Kind("FAISS", processor.make_faiss, vectors, vectors, nothing),
        Kind("usearch", processor.make_usearch, vectors, nothing, nothing),
        Kind("ours", processor.make_ours, lambda size, dim: size * (dim + 8), lambda n, d: n * (9 * d + 24), nothing),
    ]


def device_kinds(device: str) -> list[Kind]:
    """Return the sides on a GPU; whether they fit is left to it."""
    from benchmarks.ranking_sides import device as sides  # noqa: PLC0415 - see processor_kinds

    def vectors(size: int, dim: int) -> int:
        return size * dim * 4

    return [
        Kind(name, partial(make, device=device), vectors, lambda *_: 0, lambda *_: 0)
        for name, make in (("torch", sides.make_torch), ("ours", sides.make_ours))
    ]


def _measure_world(
    cells: Sequence[Cell],
    kinds: Sequence[Kind],
    bandwidth: float,
    rows: list[Row],
    measured: dict[Cell, dict[str, Measurement]],
) -> None:
    """Measure every cell of one size and dimension, whose catalogue is made once."""
    size, dim = cells[0].size, cells[0].dim
    gc.collect()
    needed = 2 * 4 * size * dim + sum(kind.kept_bytes(size, dim) for kind in kinds) + SPARE_BYTES
    if needed > available_bytes():
        why = f"needs {needed / 1e9:.1f} GB of {available_bytes() / 1e9:.1f}"
        rows += [_row(cell, kind, why) for cell in cells for kind in kinds if kind.name != LOOP]
        return
    world = make_world(size, dim, max(cell.users for cell in cells))
    finds = {kind.name: kind.make(world) for kind in kinds if kind.name != LOOP or size == SIZES[0]}
    for cell in cells:
        told = {kind.name: _refuse(kind, cell, measured) for kind in kinds if kind.name in finds}
        sides = [_side(name, finds[name], world.thetas[: cell.users], cell.k) for name, why in told.items() if not why]
        measured[cell] = measure(sides)
        for kind in kinds:
            if kind.name in told:
                rows.append(_row(cell, kind, told[kind.name], measured[cell].get(kind.name), bandwidth))
        print(f"N {cell.size:,} D {cell.dim} B {cell.users} k {cell.k}", flush=True)


def _refuse(kind: Kind, cell: Cell, measured: dict[Cell, dict[str, Measurement]]) -> str:
    """Return why a side is not run on a cell; empty when it is."""
    if kind.name == LOOP:
        return "" if cell.users == 1 and cell.k == DEPTHS[0] else f"as long a user as at B 1, k {DEPTHS[0]}"
    needed = kind.call_bytes(cell.size, cell.users) + SPARE_BYTES
    if needed > available_bytes():
        return f"needs {needed / 1e9:.1f} GB of {available_bytes() / 1e9:.1f}"
    known = [
        found[kind.name].median_s * cell.users * cell.size / other.size
        for other, found in measured.items()
        if kind.name in found and other.dim == cell.dim and other.k == cell.k and other.users <= cell.users
    ]
    expected_s = known[-1] if known else 0.0
    if expected_s > LONGEST_S.get(kind.name, LONGEST_OTHER_S):
        return f"some {expected_s:.1f} s a call"
    return ""


def _side(name: str, find: Find, thetas: np.ndarray, k: int) -> Side:
    """Return a side that calls often enough to be timed."""
    find(thetas, k)
    start = time.perf_counter()
    find(thetas, k)
    calls = max(1, min(1_000, round(LEAST_S / (time.perf_counter() - start))))

    def run() -> None:
        for _ in range(calls):
            find(thetas, k)

    return Side(name, run, calls * len(thetas))


def _row(cell: Cell, kind: Kind, why: str, found: Measurement | None = None, bandwidth: float = 1.0) -> Row:
    row = {"side": kind.name, "N": cell.size, "D": cell.dim, "B": cell.users, "k": cell.k}
    if found is None:
        return (
            row | dict.fromkeys(("median_us", "lowest_us", "highest_us", "gb_s", "of_bandwidth"), "-") | {"note": why}
        )
    rate = kind.read_bytes(cell.size, cell.dim) / (found.median_s * cell.users)
    return row | {
        "median_us": round(found.median_s * 1e6, 2),
        "lowest_us": round(min(found.seconds) * 1e6, 2),
        "highest_us": round(max(found.seconds) * 1e6, 2),
        "gb_s": round(rate / 1e9, 2),
        "of_bandwidth": round(rate / bandwidth, 3),
        "note": "",
    }


def ratios_of(measured: dict[Cell, dict[str, Measurement]]) -> dict[str, float]:
    """Return how many times faster ours is; of several cells the worst."""
    chosen: dict[str, Callable[[Cell], bool]] = {
        "ours_vs_torch_min": lambda _: True,
        "ours_vs_torch_d64_min": lambda cell: cell.dim <= 64,
        "ours_vs_torch_d16_b64": lambda cell: cell.dim == 16 and cell.users == 64,
    }
    found = {name: _worst(measured, "torch", is_chosen) for name, is_chosen in chosen.items()}
    found["ours_vs_faiss_d16"] = _worst(measured, "FAISS", lambda cell: cell.dim == 16)
    found["ours_vs_loop_1k"] = _worst(measured, LOOP, lambda cell: cell.size == SIZES[0])
    return {name: value for name, value in found.items() if value is not None}


def _worst(measured: dict[Cell, dict[str, Measurement]], other: str, is_chosen: Callable[[Cell], bool]) -> float | None:
    found = [
        ratio(sides[other], sides["ours"])
        for cell, sides in measured.items()
        if is_chosen(cell) and other in sides and "ours" in sides
    ]
    return min(found, default=None)


def available_bytes() -> int:
    """Return the memory that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def measure_bandwidth(device: str) -> float:
    """Return the bytes a second at which a sum reads memory."""
    numbers = torch.ones(BANDWIDTH_BYTES // 4, device=device)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        float(numbers.sum())
        seconds.append(time.perf_counter() - start)
    return BANDWIDTH_BYTES / min(seconds)


def measure_threads() -> float:
    """Return how much more torch does with all its threads than with one: near 1 says that a core is taken."""
    square, threads = torch.ones(1024, 1024), torch.get_num_threads()
    seconds = []
    for used in (1, threads):
        torch.set_num_threads(used)
        square @ square
        start = time.perf_counter()
        for _ in range(20):
            square @ square
        seconds.append(time.perf_counter() - start)
    return seconds[0] / seconds[1]


if __name__ == "__main__":
    main()
