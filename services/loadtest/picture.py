"""Panels as one PNG."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError
from services.loadtest.panels import COLOURS, Panel

COLUMNS = 2


def draw_png(panels: Sequence[Panel], title: str, path: Path) -> None:
    """Draw panels.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - wanted for pictures only
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(14.0, 3.6 * rows + 0.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, axes in zip(panels, figure.subplots(rows, COLUMNS, squeeze=False).flat, strict=False):
        _draw(axes, panel)
    for axes in figure.axes[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, format="png")


def _draw(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415 - as above

    for line in panel.lines:
        y = [math.nan if value is None else value for value in line.y]
        axes.plot(
            line.x,
            y,
            color=COLOURS[line.colour % len(COLOURS)],
            linestyle="--" if line.is_dashed else "-",
            linewidth=1.4,
            marker="o" if panel.has_points or len(y) == 1 else None,
            markersize=4,
            label=line.name,
        )
    if panel.is_log and any(value for line in panel.lines for value in line.y):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    if panel.ticks:
        axes.set_xticks(list(panel.ticks.values()), list(panel.ticks))
        axes.set_xlim(0, max((x for line in panel.lines for x in line.x), default=1.0) * 1.03)
    if not panel.is_log:
        axes.set_ylim(bottom=0)
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xlabel(panel.x_title)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.lines) > 1:
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def missing_package(error: ModuleNotFoundError) -> ConfigurationError:
    """Return the error that says which package drawing needs."""
    return ConfigurationError(f"drawing a load test needs {error.name}: install streamrec[loadtest]")
