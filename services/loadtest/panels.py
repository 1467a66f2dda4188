"""What is drawn of a run, as values that the page and the picture share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.loadtest.report import Report

COLOURS = ("#1f77b4", "#d95f02", "#2a9d3f", "#c2185b", "#6a3d9a", "#8c6d1f", "#17a2b8", "#555555", "#b0b000", "#000000")
TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        name: in the legend.
        x: where.
        y: how much; None leaves a gap.
        colour: place in :data:`COLOURS`.
        is_dashed: whether it is drawn dashed.
    """

    name: str
    x: Sequence[float]
    y: Values
    colour: int
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot.

    Attributes:
        title: above it.
        x_title: under it.
        lines: in it.
        is_log: whether its y axis is logarithmic.
        ticks: of the x axis, by the text shown; none for the usual ones.
        has_points: whether points are marked.
    """

    title: str
    x_title: str
    lines: list[Line]
    is_log: bool = False
    ticks: dict[str, float] = field(default_factory=dict)
    has_points: bool = False


def panels_of(report: Report, prefix: str = "") -> list[Panel]:
    """Return the six plots of a run; ``prefix`` goes before the name of each line."""
    series = report["series"]
    seconds = series["by_second"]
    return [
        _rates(seconds, prefix),
        _latencies(seconds, prefix),
        _curves(report["curves"], prefix),
        Panel(
            "ratings acknowledged and not applied (lag)", "s", [Line(prefix + "lag", series["at_s"], series["lag"], 0)]
        ),
        _processes(series, "cores", "cores used", prefix),
        _processes(series, "rss_mb", "resident memory, MiB", prefix, is_log=True),
    ]


def _rates(seconds: dict[str, Any], prefix: str) -> Panel:
    lines = []
    for colour, (kind, done) in enumerate((("ratings", "applied"), ("requests", "answered"))):
        for what, name in (("offered", "offered"), ("achieved", done)):
            values = seconds[f"{kind}_{what}"]
            x = [second + 0.5 for second in range(len(values))]
            lines.append(Line(f"{prefix}{kind} {name}", x, values, colour, is_dashed=what == "offered"))
    return Panel("a second, offered (dashed) and done", "s", lines)


def _latencies(seconds: dict[str, Any], prefix: str) -> Panel:
    lines = []
    for colour, (kind, name) in enumerate((("visible", "rating to visible"), ("answer", "request to answer"))):
        for share in ("p50", "p99"):
            values = seconds[f"{kind}_ms"][share]
            x = [second + 0.5 for second in range(len(values))]
            lines.append(Line(f"{prefix}{name}, {share}", x, values, colour, is_dashed=share == "p50"))
    return Panel("latency by the second something was due, ms", "s", lines, is_log=True)


def _curves(curves: dict[str, Any], prefix: str) -> Panel:
    lines = []
    for colour, (kind, name) in enumerate((("visible", "rating to visible"), ("answer", "request to answer"))):
        points = curves[kind]
        x, y = [place_of(share) for share, _ in points], [latency for _, latency in points]
        lines.append(Line(prefix + name, x, y, colour))
    title = "latency by percentile, ms" + ("" if any(line.x for line in lines) else " (none: saturated)")
    ticks = {f"{share:g}": place_of(share) for share in TICKS}
    return Panel(title, "percentile", lines, is_log=True, ticks=ticks)


def place_of(share: float) -> float:
    """Return where a percentile stands on an axis on which each nine takes as much room.

    >>> place_of(99.0)
    2.0
    """
    return round(-math.log10(1 - share / 100), 6)


def _processes(series: dict[str, Any], what: str, title: str, prefix: str, *, is_log: bool = False) -> Panel:
    lines = [
        Line(prefix + name, series["resources_at_s"], values[what], colour)
        for colour, (name, values) in enumerate(series["processes"].items())
    ]
    return Panel(title, "s", lines, is_log=is_log)


def overlaid(first: list[Panel], second: list[Panel]) -> list[Panel]:
    """Return panels with the lines of both, in colours of their own."""
    panels = []
    for one, other in zip(first, second, strict=True):
        shift = max((line.colour for line in one.lines), default=-1) + 1
        moved = [Line(line.name, line.x, line.y, line.colour + shift, line.is_dashed) for line in other.lines]
        panels.append(Panel(one.title, one.x_title, [*one.lines, *moved], one.is_log, one.ticks, one.has_points))
    return panels
