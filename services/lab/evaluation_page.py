"""An evaluation as one page: curves, bars and tables, as HTML that needs no network and as PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError
from services.lab.evaluation import Bars, Report, SheetTable
from services.lab.plots import Panel, colours, missing_package, traces_of

_COLUMNS = 2
_PLOT_HEIGHT, _ROW_HEIGHT, _TABLE_FRAME, _GAP = 420, 24, 90, 90
_LONGEST_LINE = 24


def write_html(reports: Sequence[Report], title: str, path: Path) -> None:
    """Write the page as HTML.

    Raises:
        ConfigurationError: plotly is not installed.
    """
    try:
        from plotly import graph_objects as go  # noqa: PLC0415 - wanted for pictures only
        from plotly.subplots import make_subplots  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    plots = _plots_of(reports)
    tables = [table for report in reports for table in report.tables]
    plot_rows = -(-len(plots) // _COLUMNS)
    heights = [_PLOT_HEIGHT] * plot_rows + [_TABLE_FRAME + _ROW_HEIGHT * (len(table.rows) + 1) for table in tables]
    figure = make_subplots(
        rows=len(heights),
        cols=_COLUMNS,
        row_heights=heights,
        vertical_spacing=_GAP / max(sum(heights), 1),
        specs=[[{}] * _COLUMNS] * plot_rows + [[{"type": "table", "colspan": _COLUMNS}, None]] * len(tables),
        subplot_titles=[*(plot.title for plot in plots), *[""] * (len(plots) % _COLUMNS), *(t.title for t in tables)],
    )
    named: set[str] = set()
    for place, plot in enumerate(plots):
        cell = {"row": place // _COLUMNS + 1, "col": place % _COLUMNS + 1}
        for trace in _panel(go, plot, named) if isinstance(plot, Panel) else _bars(go, plot):
            figure.add_trace(trace, **cell)
        if isinstance(plot, Panel):
            figure.update_xaxes(title_text="step", **cell)
        else:
            figure.update_yaxes(autorange="reversed", **cell)
    for place, table in enumerate(tables):
        figure.add_trace(_table(go, table), row=plot_rows + place + 1, col=1)
    figure.update_layout(title=title, template="plotly_white", height=sum(heights) + _GAP * len(heights) + 60)
    figure.write_html(path, include_plotlyjs=True)


def write_png(reports: Sequence[Report], title: str, path: Path) -> None:
    """Write the curves and bars as PNG.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - wanted for pictures only
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    plots = _plots_of(reports)
    if not plots:
        return
    rows = -(-len(plots) // _COLUMNS)
    figure = Figure(figsize=(13.0, 4.6 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for plot, axes in zip(plots, figure.subplots(rows, _COLUMNS, squeeze=False).flat, strict=False):
        _draw_panel(axes, plot) if isinstance(plot, Panel) else _draw_bars(axes, plot)
        axes.set_title(plot.title, loc="left", fontsize=11)
        axes.grid(visible=True, alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in figure.axes[len(plots) :]:
        axes.set_visible(False)
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, format="png")


def _plots_of(reports: Sequence[Report]) -> list[Panel | Bars]:
    plots: list[Panel | Bars] = []
    for report in reports:
        plots += [*report.panels, *report.bars]
    return plots


def _panel(go: Any, panel: Panel, named: set[str]) -> list[Any]:
    """Return what draws a panel; a policy is in the legend once, ``named`` being those that are."""
    traces = []
    for line, colour in zip(panel.lines, colours([line.policy for line in panel.lines]), strict=True):
        traces += [go.Scatter(**trace) for trace in traces_of(line, colour, in_legend=line.policy not in named)]
        named.add(line.policy)
    return traces


def _bars(go: Any, bars: Bars) -> list[Any]:
    names = list(bars.values)
    errors = {"type": "data", "array": [bars.errors.get(name, 0.0) for name in names], "visible": bool(bars.errors)}
    return [
        go.Bar(
            x=[bars.values[name] for name in names],
            y=names,
            orientation="h",
            error_x=errors,
            marker_color=colours(names),
            showlegend=False,
        )
    ]


def _table(go: Any, table: SheetTable) -> Any:
    columns = [[_unbroken(row[place]) for row in table.rows] for place in range(len(table.header))]
    return go.Table(
        columnwidth=[1.6, *[1.0] * (len(table.header) - 1)],
        header={"values": [f"<b>{name}</b>" for name in table.header], "align": "left"},
        cells={"values": columns, "align": "left", "height": _ROW_HEIGHT, "font": {"size": 11}},
    )


def _unbroken(cell: str) -> str:
    """Return a short cell in one line: rows are made for that, and what does not fit is cut off."""
    return cell.replace(" ", "\N{NO-BREAK SPACE}") if len(cell) <= _LONGEST_LINE else cell


def _draw_panel(axes: Any, panel: Panel) -> None:
    for line, colour in zip(panel.lines, colours([line.policy for line in panel.lines]), strict=True):
        axes.plot(line.steps, line.mean, color=colour, linewidth=1.6, label=line.policy)
        axes.fill_between(line.steps, line.low, line.high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xlabel("step")
    axes.legend(fontsize=8, ncols=2, framealpha=0.8, edgecolor="none")


def _draw_bars(axes: Any, bars: Bars) -> None:
    names = list(bars.values)
    errors = [bars.errors.get(name, 0.0) for name in names] if bars.errors else None
    axes.barh(names, [bars.values[name] for name in names], xerr=errors, color=colours(names))
    axes.invert_yaxis()


def make_folder(path: Path) -> None:
    """Make a folder for what an evaluation writes.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--out {path} cannot be made: {error}") from error
