"""What `streamrec top` shows."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.admin.vitals import Vitals

_LIKEWISE = ("lag", "age\ns", "batch", "p50\nms", "p99\nms")
_ALIKE = ("dead\na s", "store\nfails", "cpu", "MiB", "on")
"""Dead letters, and calls to the store without an answer, a second; cores, memory, and what is computed on."""
OLD_S = 2.0
"""A healthy idle partition is found at its end at least every second."""


def draw(vitals: Sequence[Vitals]) -> RenderableType:
    """Return a picture of how processes do."""
    parts: list[RenderableType] = [_headline(vitals)]
    for role, make_table in (("worker", _workers), ("scorer", _scorers)):
        if own := [each for each in vitals if each.role == role]:
            parts.append(make_table(own))
    if any(each.partitions for each in vitals):
        parts.append(_partitions(vitals))
    if any(each.models for each in vitals):
        parts.append(_models(vitals))
    parts += [
        Text(f"! {each.role or each.url}: {reason}", style="bold red") for each in vitals for reason in each.reasons
    ]
    return Group(*parts)


def _headline(vitals: Sequence[Vitals]) -> Text:
    rates = {role: sum(each.per_s or 0.0 for each in vitals if each.role == role) for role in ("worker", "scorer")}
    lag = sum(each.lag or 0 for each in vitals if each.role == "worker")
    ready = sum(each.ready for each in vitals)
    text = Text.assemble(
        ("streamrec", "bold"),
        f"  {rates['worker']:,.0f} ratings/s  {rates['scorer']:,.0f} answers/s  {lag:,} ratings behind  ",
    )
    return text.append(f"{ready} of {len(vitals)} ready", "green" if ready == len(vitals) else "bold red")


def _workers(vitals: Sequence[Vitals]) -> Table:
    table = _table("worker", "ready", "ratings\na s", *_LIKEWISE, "conflicts\na s", *_ALIKE, left=2)
    for each in vitals:
        table.add_row(*_first(each), _alarming(each.errors_per_s), *_alike(each))
    return table


def _scorers(vitals: Sequence[Vitals]) -> Table:
    table = _table(
        "scorer", "ready", "answers\na s", *_LIKEWISE, "queue", "wait", "shed\na s", "errors\na s", *_ALIKE, left=2,
    )  # fmt: skip
    for each in vitals:
        queues = (_number(each.unanswered), _number(each.waiting))
        table.add_row(*_first(each), *queues, _alarming(each.shed_per_s), _alarming(each.errors_per_s), *_alike(each))
    return table


def _first(each: Vitals) -> tuple[str | Text, ...]:
    return (
        urlsplit(each.url).netloc,
        Text("yes", "green") if each.ready else Text("no", "bold red"),
        _number(each.per_s),
        _number(each.lag),
        _aged(each.age_s),
        _number(each.batch, 1),
        _number(each.p50_ms, 1),
        _number(each.p99_ms, 1),
    )


def _alike(each: Vitals) -> tuple[str | Text, ...]:
    return (
        _alarming(each.dead_letters_per_s),
        _alarming(each.store_failures_per_s),
        _number(each.cpu, 2),
        _number(each.memory_mb),
        each.device,
    )


def _partitions(vitals: Sequence[Vitals]) -> Table:
    table = _table("partition of ratings", "worker", "watermark", "lag", "age s", left=2)
    found = sorted((number, each, own) for each in vitals for number, own in each.partitions.items())
    for number, each, own in found:
        where = urlsplit(each.url).netloc
        table.add_row(str(number), where, _number(own.next_offset), _number(own.lag), _aged(own.age_s))
    return table


def _models(vitals: Sequence[Vitals]) -> Table:
    table = _table("live release", "version", "processes", left=3)
    names = sorted({(name, version) for each in vitals for name, version in each.models.items()})
    for name, version in names:
        roles = [each.role for each in vitals if each.models.get(name) == version]
        counts = ", ".join(f"{roles.count(role)} {role}" for role in dict.fromkeys(roles))
        is_old = sum(other == name for other, _ in names) > 1
        table.add_row(name, Text(version, "yellow" if is_old else ""), counts)
    return table


def _table(*columns: str, left: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < left else "right", no_wrap=True)
    return table


def _number(value: Any, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _aged(value: float | None) -> Text:
    return Text(_number(value, 1), "bold red" if value is not None and value > OLD_S else "")


def _alarming(value: float) -> Text:
    return Text(_number(value, 1), "bold red" if value else "dim")
