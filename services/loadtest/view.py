"""A run as it goes: a live picture in a terminal, a line now and then without one."""

from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.loadtest.outcome import Look

PLAIN_EVERY_S = 2.0
BAR_WIDTH = 40


class RunView:
    """Shows looks as they come; a context manager.

    Args:
        title: of the run.
        console: where to.
    """

    def __init__(self, title: str, console: Console) -> None:
        self._title = title
        self._console = console
        self._live = Live(console=console, refresh_per_second=5, transient=True) if console.is_terminal else None
        self._plain_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, look: Look) -> None:
        """Draw the run as it is now."""
        if self._live is not None:
            self._live.update(_picture(self._title, look))
        elif look.at_s >= self._plain_at:
            self._plain_at = look.at_s + PLAIN_EVERY_S
            self._console.print(_line(look), markup=False, highlight=False, soft_wrap=True)


def _line(look: Look) -> str:
    return (
        f"{max(look.at_s, 0.0):.0f} s, {look.phase}: {look.sent:,} ratings sent, {look.applied:,} applied (lag "
        f"{look.lag:,}), {look.answered:,} of {look.requests_due:,} requests answered, answer {_latency(look, 'r')}, "
        f"visible {_latency(look, 'p')}{_errors(look)}"
    )


def _picture(title: str, look: Look) -> RenderableType:
    grid = Table.grid(padding=(0, 2))

    def row(name: str, value: RenderableType) -> None:
        grid.add_row(Text(name, style="dim"), value)

    row(look.phase, ProgressBar(total=max(look.seconds, 0.1), completed=max(look.at_s, 0.0), width=BAR_WIDTH))
    row("seconds", f"{max(look.at_s, 0.0):.0f} of {look.seconds:.0f}")
    row("ratings", f"{look.due:,} due, {look.sent:,} sent, {look.applied:,} applied")
    row("lag", Text(f"{look.lag:,}"))
    row("requests", f"{look.requests_due:,} due, {look.answered:,} answered")
    row("request to answer", f"{_latency(look, 'r')} (newest)")
    row("rating to visible", f"{_latency(look, 'p')} (newest)")
    row("cores", "  ".join(f"{name} {cores:.2f}" for name, cores in look.cores.items()))
    if look.errors:
        row("errors", Text(_errors(look).removeprefix("; "), style="bold red"))
    return Panel(grid, title=Text(f"loadtest: {title}"), title_align="left")


def _latency(look: Look, kind: str) -> str:
    p50, p99 = (look.told.get(f"{kind}_{name}_ms") for name in ("p50", "p99"))
    return "-" if p50 is None or p99 is None else f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def _errors(look: Look) -> str:
    return "; " + ", ".join(f"{count:,} {name}" for name, count in look.errors.items()) if look.errors else ""
