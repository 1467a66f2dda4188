"""One page of the four curves of an experiment, as PNG and as HTML to look into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recommender.arrays import Floats
from recommender.simulation.curves import Curve
from recommender.simulation.experiment import Mode
from schemas.errors import ConfigurationError

BAND_ERRORS = 1.96
"""Half the width of a band, in standard errors: 95 % of means lie so near to what they estimate."""

_COLOURS = (
    "#1f77b4",
    "#d95f02",
    "#2a9d3f",
    "#c2185b",
    "#6a3d9a",
    "#8c6d1f",
    "#17a2b8",
    "#555555",
    "#b0b000",
    "#000000",
)
_BAND_OPACITY = 0.15
_NAMED = (
    "item_mean",
    "linear",
    "greedy",
    "epsilon_greedy",
    "ucb",
    "greedy_compat",
    "linear_linucb",
    "linear_thompson",
    "random",
    "best",
)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One policy in one panel; each of shape [n]."""

    policy: str
    steps: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One measure of every policy."""

    title: str
    lines: list[Line]
    is_log: bool = False


def make_panels(curves: Mapping[str, Mapping[str, Curve]], mode: Mode) -> list[Panel]:
    """Return the four panels; in default mode the error is a root, in compat mode the square that it was called for."""
    is_root = mode == "default"
    error = "root mean squared error of the prediction" if is_root else "squared error of the prediction"
    return [
        Panel("cumulative regret", _lines(curves, "cumulative_regret", first=0)),
        Panel(error, _lines(curves, "sq_error", is_root=is_root)),
        Panel("rating met at the step", _lines(curves, "rating")),
        Panel("microseconds for a user's step", _lines(curves, "seconds", scale=1e6), is_log=True),
    ]


def draw_png(panels: list[Panel], title: str, path: Path) -> None:
    """Write the page as PNG.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - wanted for pictures only
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.ticker import MaxNLocator  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    figure = Figure(figsize=(11.0, 7.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, axes in zip(panels, figure.subplots(2, 2).flat, strict=True):
        for line, colour in zip(panel.lines, _colours(len(panel.lines)), strict=True):
            axes.plot(line.steps, line.mean, color=colour, linewidth=1.6, label=line.policy)
            axes.fill_between(line.steps, line.low, line.high, color=colour, alpha=_BAND_OPACITY, linewidth=0)
        if panel.is_log:
            axes.set_yscale("log")
        axes.set_title(panel.title, loc="left", fontsize=11)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    labels = [line.policy for line in panels[0].lines]
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(labels), 4))
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, format="png")


def draw_html(panels: list[Panel], title: str, path: Path) -> None:
    """Write the page as HTML that needs no network.

    Raises:
        ConfigurationError: plotly is not installed.
    """
    try:
        from plotly import graph_objects as go  # noqa: PLC0415 - wanted for pictures only
        from plotly.subplots import make_subplots  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    figure = make_subplots(rows=2, cols=2, subplot_titles=[panel.title for panel in panels])
    for place, panel in enumerate(panels):
        cell = {"row": place // 2 + 1, "col": place % 2 + 1}
        for line, colour in zip(panel.lines, _colours(len(panel.lines)), strict=True):
            for trace in traces_of(line, colour, in_legend=place == 0):
                figure.add_trace(go.Scatter(**trace), **cell)
        figure.update_xaxes(title_text="step", **cell)
        if panel.is_log:
            figure.update_yaxes(type="log", **cell)
    figure.update_layout(title=title, template="plotly_white", hovermode="x unified", height=900)
    figure.write_html(path, include_plotlyjs=True)


def traces_of(line: Line, colour: str, *, in_legend: bool) -> list[dict[str, Any]]:
    """Return what draws a line and, from its upper edge back along the lower one, its band."""
    group: dict[str, Any] = {"legendgroup": line.policy}
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    known = np.isfinite(line.low)
    steps, low, high = line.steps[known], line.low[known], line.high[known]
    band = {
        "x": np.concatenate((steps, steps[::-1])),
        "y": np.concatenate((high, low[::-1])),
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},{_BAND_OPACITY})",
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
    }
    mean = {"x": line.steps, "y": line.mean, "name": line.policy, "mode": "lines", "showlegend": in_legend}
    return [band | group, mean | group | {"line": {"color": colour, "width": 2}}]


def _lines(
    curves: Mapping[str, Mapping[str, Curve]],
    measure: str,
    *,
    first: int = 1,
    scale: float = 1.0,
    is_root: bool = False,
) -> list[Line]:
    """Return the lines of a measure from step ``first`` on, with bands that reach no lower than 0 where none can be."""
    lines = []
    for policy, measures in curves.items():
        mean, error = measures[measure].mean[first:] * scale, measures[measure].error[first:] * scale
        low, high = mean - BAND_ERRORS * error, mean + BAND_ERRORS * error
        if measure == "seconds":
            low = np.maximum(low, mean / 2)  # a logarithmic axis has no 0
        if is_root:
            mean, low, high = np.sqrt(mean), np.sqrt(np.maximum(low, 0.0)), np.sqrt(high)
        lines.append(Line(policy, np.arange(first, first + len(mean), dtype=np.float64), mean, low, high))
    return lines


def _colours(n: int) -> list[str]:
    return [_COLOURS[place % len(_COLOURS)] for place in range(n)]


def colours(names: Sequence[str]) -> list[str]:
    """Return a colour for each name, which depends on the name alone where it is a policy's that evaluations know."""
    order = {name: place for place, name in enumerate(_NAMED)}
    return [_COLOURS[order.get(name, place) % len(_COLOURS)] for place, name in enumerate(names)]


def missing_package(error: ModuleNotFoundError) -> ConfigurationError:
    """Return the error that says which package drawing needs."""
    return ConfigurationError(f"drawing the curves needs {error.name}: install streamrec[lab]")
