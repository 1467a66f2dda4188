"""What every benchmark shares: sides measured in turn, medians with their spread, a table, and one line of JSON."""

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Side:
    """One way of doing the work.

    Attributes:
        name: what the table calls it.
        run: does the work once.
        operations: how many operations that is.
    """

    name: str
    run: Callable[[], object]
    operations: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """Seconds an operation of one side, one figure a repeat."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.seconds)

    def row(self) -> Row:
        """The measurement as a row of the table: microseconds an operation."""
        low, high = min(self.seconds), max(self.seconds)
        return {
            "side": self.name,
            "median_us": round(self.median_s * 1e6, 3),
            "lowest_us": round(low * 1e6, 3),
            "highest_us": round(high * 1e6, 3),
            "per_s": round(1 / self.median_s),
        }


def read_arguments(name: str, about: str) -> argparse.Namespace:
    """Return the arguments that every benchmark takes: ``quick`` and ``json``."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    add_arguments(parser)
    return parser.parse_args()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark with arguments of its own those that every one takes."""
    parser.add_argument("--quick", action="store_true", help="less work, rougher figures")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")


def measure(sides: Sequence[Side], repeats: int = 5) -> dict[str, Measurement]:
    """Return the time of each side; every repeat runs all sides in turn, so that a slow moment meets them all."""
    for side in sides:
        side.run()
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(repeats):
        for side in sides:
            gc.collect()
            start = time.perf_counter()
            side.run()
            seconds[side.name].append((time.perf_counter() - start) / side.operations)
    return {name: Measurement(name, tuple(figures)) for name, figures in seconds.items()}


def ratio(ours: Measurement, theirs: Measurement) -> float:
    """Return the median over the repeats of ours/theirs, each pair measured side by side."""
    return statistics.median(mine / other for mine, other in zip(ours.seconds, theirs.seconds, strict=True))


def report(
    name: str,
    rows: Sequence[Row],
    ratios: Mapping[str, float],
    *,
    packages: Sequence[str],
    as_json: bool,
    device: str = "cpu",
    note: str = "",
) -> None:
    """Print the table and the ratios, and with ``as_json`` everything once more as the last line.

    Args:
        name: the benchmark's name.
        rows: the table; every row has the same columns.
        ratios: what the benchmark is about, ``ours_vs_theirs``.
        packages: installed packages whose versions matter.
        as_json: whether to print the JSON line.
        device: what computed: "cpu" or the name of a GPU.
        note: what a reader of the figures must know.
    """
    versions = {"python": platform.python_version()} | {each: importlib.metadata.version(each) for each in packages}
    load = round(os.getloadavg()[0], 2)
    print(f"{name}: {', '.join(f'{each} {version}' for each, version in versions.items())}")
    print(f"{os.cpu_count()} cores, {device}, load {load}\n")
    print(_format_table(rows))
    print()
    for each, figure in ratios.items():
        print(f"{each}: {figure:.3f}")
    if note:
        print(f"\n{note}")
    if as_json:
        result = {
            "name": name,
            "versions": versions,
            "cores": os.cpu_count(),
            "device": device,
            "load": load,
            "note": note,
            "rows": list(rows),
            "ratios": {each: round(figure, 4) for each, figure in ratios.items()},
        }
        print(json.dumps(result))


def _format_table(rows: Sequence[Row]) -> str:
    columns = list(rows[0])
    cells = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )
