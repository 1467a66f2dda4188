"""Where items and ratings come from: a data set by name, or a file of your own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from schemas.errors import ConfigurationError
from schemas.events import Item, RatingEvent
from services.cli.show import note
from services.lab.datasets import DATASETS, Dataset, load_dataset, rating_events
from services.lab.files import parse_columns, read_items, read_ratings
from services.lab.rows import BadLine
from streams.settings import Settings

SHOWN_BAD_LINES = 5


def _convert_columns(_type: Any, tokens: Any) -> dict[str, str]:
    return parse_columns(tokens[0].value)


ColumnsArgument = Annotated[
    dict[str, str] | None,
    Parameter(name="--columns", converter=_convert_columns, accepts_keys=False, n_tokens=1, metavar="NAME=COLUMN,..."),
]
"""``--columns user_id=user,...``: what a file calls a column of the contract."""


class BadLines:
    """Counts the lines of a file that break the contract, and shows the first."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, line: BadLine) -> None:
        """Take one in."""
        self.count += 1
        if self.count <= SHOWN_BAD_LINES:
            note(f"line {line.line} left out: {line.reason}: {line.message}")


def load_items(source: str, columns: dict[str, str] | None, on_bad: BadLines) -> Iterable[Item]:
    """Return the items of a data set or file.

    Raises:
        DataError: it cannot be read.
        ConfigurationError: columns are given for a data set, or columns that items do not have.
    """
    if source in DATASETS:
        return _load_dataset(source, columns).items
    items: Iterable[Item] = _read(read_items, source, columns, on_bad=on_bad)
    return items


def load_ratings(
    source: str, columns: dict[str, str] | None, settings: Settings, on_bad: BadLines
) -> tuple[Iterable[RatingEvent], int | None]:
    """Return the ratings of a data set, with their number, or of a file, which is read as it is sent.

    Raises:
        DataError: it cannot be read.
        ConfigurationError: columns are given for a data set, or columns that ratings do not have.
    """
    if source in DATASETS:
        frame = _load_dataset(source, columns).ratings
        return rating_events(frame), len(frame)
    scale = {"rating_min": settings.rating_min, "rating_max": settings.rating_max}
    return _read(read_ratings, source, columns, **scale, on_bad=on_bad), None


def _load_dataset(name: str, columns: dict[str, str] | None) -> Dataset:
    if columns:
        raise ConfigurationError(f"--columns is for files; {name} has the contract's names")
    dataset = load_dataset(name)
    note(f"{name}: {dataset.licence} ({dataset.source})")
    return dataset


def _read(reader: Any, source: str, columns: dict[str, str] | None, **arguments: Any) -> Any:
    try:
        return reader(Path(source), columns, **arguments)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
