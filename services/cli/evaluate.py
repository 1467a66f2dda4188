"""``streamrec evaluate``."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from cyclopts import Parameter
from rich.progress import Progress, TaskID

from recommender.catalogue import VectorsOf
from schemas.errors import ConfigurationError, DataError
from schemas.events import Item
from services.cli.flags import SettingsArgument, limits_of
from services.cli.show import note, progress_bar, say, show_table
from services.cli.sources import BadLines, ColumnsArgument, load_items, load_ratings
from services.lab.datasets import DATASETS, load_dataset
from services.lab.evaluation import Report, Task
from services.lab.evaluation_page import make_folder, write_html, write_png
from services.lab.protocols import PROTOCOLS, policies_by_protocol
from services.lab.vectors import read_vectors, train_vectors
from services.scorer.routing import make_policy_settings
from streams.bus.dead_letters import CODE_VERSION
from streams.settings import Settings


def evaluate(
    *,
    data: str,
    items: str | None = None,
    policy: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    protocol: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    embeddings: str = "autoencoder",
    splits: int = 5,
    out: Path = Path("evaluation"),
    columns: ColumnsArgument = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    settings: SettingsArgument,
) -> None:
    """Measure policies on a log of ratings, off line, by the code that serves.

    Args:
        data: movielens-100k, synthetic, or a file (csv, tsv, parquet, jsonl) with user_id, item_id, rating and ts_ms.
        items: the items, a file or data set; those of the ratings' data set by default.
        policy: one or several; by default each protocol's own.
        protocol: both by default. held_out: the first 20 recommendations for people of whom nothing is known;
            next_item: which item a person rates next, in the order of time, beside baselines.
        embeddings: autoencoder or pca, trained on the items, or a file of item vectors (parquet, npz, safetensors, pt).
        splits: how many ways to hold half of the users out; the seeds are 0, 1, ...
        out: folder for evaluation.json, evaluation.html and evaluation.png.
        columns: what the file of ratings calls a column.
        as_json: print the figures as one JSON object on the last line.
        settings: from flags, environment and files.
    """
    if unknown := [name for name in protocol or () if name not in PROTOCOLS]:
        raise ConfigurationError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {', '.join(unknown)}")
    if splits < 1:
        raise ConfigurationError(f"splits must be at least 1, got {splits}")
    make_folder(out)
    task = _make_task(data, items, embeddings, splits, columns, settings)
    reports: dict[str, Report] = {}
    with progress_bar() as progress:
        for name, policies in policies_by_protocol(protocol, policy).items():
            bar = progress.add_task(name, total=None)
            named = replace(task, policies=policies)
            reports[name] = PROTOCOLS[name](_shown_on(named, progress, bar))
    title = f"{Path(data).name}, {', '.join(reports)}"
    figures = _join(reports, task)
    text = json.dumps(figures, allow_nan=False)
    (out / "evaluation.json").write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
    write_html(list(reports.values()), title, out / "evaluation.html")
    write_png(list(reports.values()), title, out / "evaluation.png")
    _show(reports)
    for name, fault in figures.get("collapsed", {}).items():
        note(f"{name} has collapsed: {fault}")
    for name, why in figures.get("left_out", {}).items():
        note(f"the baseline {name} is left out: {why}")
    say(f"evaluation.json, evaluation.html and evaluation.png in {out}")
    if as_json:
        say(text)


def _make_task(
    data: str,
    items: str | None,
    embeddings: str,
    splits: int,
    columns: dict[str, str] | None,
    settings: Settings,
) -> Task:
    bad = BadLines()
    if items is None and data not in DATASETS:
        raise ConfigurationError(f"{data} has ratings only: say which items by --items FILE")
    known = load_dataset(data).items if items is None else list(load_items(items, None, bad))
    events, _ = load_ratings(data, columns, settings, bad)
    frame = pd.DataFrame(
        [(event.user_id, event.item_id, event.rating, event.ts_ms or 0) for event in events],
        columns=["user_id", "item_id", "rating", "ts_ms"],
    )
    if bad.count:
        note(f"{bad.count} lines were left out")
    ratings = _clean(frame, known)
    return Task(
        name=Path(data).name,
        items=known,
        ratings=ratings,
        vectors_of=_vectors(embeddings, known),
        policies=(),
        settings=make_policy_settings(settings),
        scale=(settings.rating_min, settings.rating_max),
        limits=limits_of(settings),
        splits=tuple(range(splits)),
    )


def _clean(frame: pd.DataFrame, items: list[Item]) -> pd.DataFrame:
    """Return the ratings of known items in the order of time; of a user's ratings of one item the last counts."""
    known = frame[frame["item_id"].isin({item.item_id for item in items})]
    if len(known) < len(frame):
        note(f"{len(frame) - len(known)} ratings of items that are not described were left out")
    if known.empty:
        raise DataError("there is no rating of a described item")
    ordered = known.sort_values("ts_ms", kind="stable")
    return ordered.drop_duplicates(["user_id", "item_id"], keep="last", ignore_index=True)


def _vectors(embeddings: str, items: list[Item]) -> VectorsOf:
    if embeddings in {"autoencoder", "pca"}:
        return train_vectors("pca" if embeddings == "pca" else "autoencoder", items, 7).vectors_for
    return read_vectors(Path(embeddings))


def _shown_on(task: Task, progress: Progress, bar: TaskID) -> Task:
    def show(what: str, done: int, total: int) -> None:
        progress.update(bar, description=what, completed=done, total=total)

    return replace(task, on_progress=show)


def _join(reports: dict[str, Report], task: Task) -> dict[str, Any]:
    """Return one object with the figures of every protocol; keys that two share are joined by policy."""
    joined: dict[str, Any] = {"gap_closed": {}, "ranking": {}, "baselines": {}}
    for report in reports.values():
        for key, value in report.figures.items():
            joined[key] = {**joined[key], **value} if isinstance(joined.get(key), dict) else value
    joined |= {
        "data": task.name,
        "protocols": list(reports),
        "versions": {"streamrec": CODE_VERSION, "numpy": np.__version__, "pandas": pd.__version__},
        "cores": os.cpu_count(),
    }
    plain: dict[str, Any] = _plain(joined)
    return plain


def _plain(value: Any) -> Any:
    """Return the value as JSON has it: what is not a number is null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _show(reports: dict[str, Report]) -> None:
    for report in reports.values():
        for table in report.tables:
            show_table(table.title, table.header, table.rows)
