"""What the demo shows: a live picture in a terminal, a line now and then without one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from schemas.events import Item, Recommendation
from services.cli.recommend import details_of, explain_slot
from services.loadtest.asking import AskingTally

PLAIN_EVERY_S = 2.0
SHOWN_ITEMS = 5


@dataclass(slots=True)
class DemoState:
    """What the demo knows of itself.

    Attributes:
        phase: what it is doing.
        total: ratings to apply.
        applied: ratings behind the watermark.
        rate: ratings applied a second, over the replay so far.
        age_ms: age of the state, as the newest answer says.
        tally: requests and answers so far.
        lists: a title and the slate under it, newest last.
        notes: what was done, newest last.
    """

    phase: str = "starting"
    total: int = 0
    applied: int = 0
    rate: float = 0.0
    age_ms: float | None = None
    tally: AskingTally = field(default_factory=AskingTally)
    lists: list[tuple[str, Recommendation]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def percentiles(latencies_ms: Sequence[float]) -> tuple[float, float] | None:
    """Return p50 and p99, None without any.

    >>> percentiles([1.0, 2.0, 3.0])[0]
    2.0
    """
    if not latencies_ms:
        return None
    p50, p99 = np.percentile(np.array(latencies_ms), [50, 99])
    return float(p50), float(p99)


class DemoView:
    """Draws a state; a context manager.

    Args:
        state: what to draw, as it changes.
        items: the catalogue, by item_id, for titles.
        console: where to.
    """

    def __init__(self, state: DemoState, items: dict[str, Item], console: Console) -> None:
        self._state = state
        self._items = items
        self._console = console
        self._live = Live(console=console, refresh_per_second=5) if console.is_terminal else None
        self._shown_notes = 0
        self._shown_lists = 0
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refresh()
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Draw the state as it is now."""
        if self._live is not None:
            self._live.update(self._picture())
            return
        state = self._state
        for note in state.notes[self._shown_notes :]:
            self._say(note)
        self._shown_notes = len(state.notes)
        for title, answer in state.lists[self._shown_lists :]:
            self._console.print(self._slate(title, answer))
        self._shown_lists = len(state.lists)
        if state.applied and time.monotonic() - self._shown_at >= PLAIN_EVERY_S:
            self._shown_at = time.monotonic()
            self._say(f"{state.phase}: {state.applied} of {state.total} ratings applied, {self._figures()}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _picture(self) -> RenderableType:
        state = self._state
        grid = Table.grid(padding=(0, 2))
        grid.add_row(Text("ratings applied", style="dim"), f"{state.applied:,} of {state.total:,}")
        grid.add_row("", ProgressBar(total=max(state.total, 1), completed=state.applied, width=40))
        grid.add_row(Text("rate", style="dim"), f"{state.rate:,.0f} ratings a second")
        grid.add_row(Text("requests answered", style="dim"), f"{state.tally.answered:,} of {state.tally.sent:,}")
        grid.add_row(Text("request to response", style="dim"), self._latency())
        age = "-" if state.age_ms is None else f"{state.age_ms:.0f} ms"
        grid.add_row(Text("age of the state", style="dim"), age)
        parts: list[RenderableType] = [Panel(grid, title=f"streamrec demo: {state.phase}", title_align="left")]
        parts += [Text(f"· {note}", style="dim") for note in state.notes[-6:]]
        parts += [self._slate(title, answer) for title, answer in state.lists[-2:]]
        return Group(*parts)

    def _figures(self) -> str:
        tally = self._state.tally
        age = "" if self._state.age_ms is None else f", state {self._state.age_ms:.0f} ms old"
        return (
            f"{self._state.rate:.0f} a second; {tally.answered} of {tally.sent} requests answered, "
            f"{self._latency()}{age}"
        )

    def _latency(self) -> str:
        found = percentiles(self._state.tally.latencies_ms)
        return "no answer yet" if found is None else f"p50 {found[0]:.1f} ms, p99 {found[1]:.1f} ms"

    def _slate(self, title: str, answer: Recommendation) -> RenderableType:
        table = Table(title=Text(title, style="bold"), title_justify="left", header_style="dim")
        for column in ("", "title", "genres", "score", "why"):
            table.add_column(column, overflow="fold")
        details = details_of(answer)
        titles = {item_id: item.title for item_id, item in self._items.items()}
        for rank, slot in enumerate(answer.items[:SHOWN_ITEMS], 1):
            item = self._items.get(slot.item_id)
            name = item.title if item else slot.item_id
            genres = ", ".join(item.genres) if item else ""
            table.add_row(
                str(rank),
                Text(name),
                Text(genres),
                f"{slot.score:.3f}",
                Text(explain_slot(slot, details.get(slot.item_id), titles)),
            )
        return table
