"""A report as one HTML page that needs no network."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from services.loadtest.panels import COLOURS, Panel
from services.loadtest.picture import missing_package

PANEL_HEIGHT = 340
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 24px; max-width: 1280px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 28px 0 8px; }
.about { color: #666; margin: 0 0 16px; }
.verdicts { display: flex; flex-wrap: wrap; gap: 8px; margin: 12px 0; }
.verdict { border-radius: 6px; padding: 6px 12px; background: #eef6ee; color: #1b5e20; }
.verdict.bad { background: #fdecea; color: #b71c1c; } .verdict.unknown { background: #f3f3f3; color: #555; }
.tables { display: flex; flex-wrap: wrap; gap: 8px 40px; align-items: flex-start; margin-bottom: 24px; }
table { border-collapse: collapse; } th, td { padding: 4px 12px 4px 0; text-align: right; }
th { color: #666; font-weight: 600; border-bottom: 1px solid #ccc; } td { border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; }
.plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px 16px; }
@media (max-width: 900px) { .plots { grid-template-columns: minmax(0, 1fr); } }
"""


_CONFIG = {"displaylogo": False, "displayModeBar": False, "responsive": True}


class Table:
    """A table of the page; cells are text."""

    def __init__(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.title = title
        self.header = header
        self.rows = rows

    def html(self) -> str:
        """Return it as HTML."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        return f"<div><h2>{escape(self.title)}</h2><table><tr>{head}</tr>{body}</table></div>"


def write_page(
    path: Path,
    title: str,
    about: str,
    verdicts: Mapping[str, bool | None],
    tables: Sequence[Table],
    panels: Sequence[Panel],
    details: Sequence[Table] = (),
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: of the page.
        about: a line under it.
        verdicts: sentences, and whether each is good; None for neither.
        tables: figures above the plots.
        panels: plots.
        details: figures below the plots.

    Raises:
        ConfigurationError: plotly is not installed.
    """
    try:
        from plotly import graph_objects as go  # noqa: PLC0415 - wanted for pages only
        from plotly.offline import get_plotlyjs  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    plots = [_figure(go, panel).to_html(full_html=False, include_plotlyjs=False, config=_CONFIG) for panel in panels]
    shown = "".join(f'<div class="verdict {_grade(good)}">{escape(says)}</div>' for says, good in verdicts.items())
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script></head><body><h1>{escape(title)}</h1>"
        f'<p class="about">{escape(about)}</p><div class="verdicts">{shown}</div>'
        f"{_beside(tables)}<div class='plots'>{''.join(plots)}</div>{_beside(details)}</body></html>\n",
        encoding="utf-8",
    )


def _beside(tables: Sequence[Table]) -> str:
    return f'<div class="tables">{"".join(table.html() for table in tables)}</div>'


def _grade(is_good: bool | None) -> str:
    return {True: "good", False: "bad", None: "unknown"}[is_good]


def _figure(go: Any, panel: Panel) -> Any:
    figure = go.Figure()
    for line in panel.lines:
        figure.add_trace(
            go.Scatter(
                x=list(line.x),
                y=list(line.y),
                name=line.name,
                mode="lines+markers" if panel.has_points or len(line.x) == 1 else "lines",
                line={"color": COLOURS[line.colour % len(COLOURS)], "width": 1.8, "dash": _dash(line.is_dashed)},
            )
        )
    figure.update_layout(
        title={"text": panel.title, "font": {"size": 14}, "x": 0.01},
        template="plotly_white",
        hovermode="x unified",
        height=PANEL_HEIGHT,
        margin={"l": 56, "r": 12, "t": 40, "b": 44},
        legend={"orientation": "h", "y": -0.22, "font": {"size": 11}},
        showlegend=len(panel.lines) > 1,
    )
    figure.update_xaxes(title_text=panel.x_title, title_standoff=4)
    if panel.ticks:
        last = max((x for line in panel.lines for x in line.x), default=1.0)
        figure.update_xaxes(
            tickvals=list(panel.ticks.values()), ticktext=list(panel.ticks), range=[-0.02 * last, 1.03 * last]
        )
    figure.update_yaxes(**({"type": "log", "dtick": "D2"} if panel.is_log else {"rangemode": "tozero"}))
    return figure


def _dash(is_dashed: bool) -> str:
    return "dash" if is_dashed else "solid"
