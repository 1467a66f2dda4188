"""Ratings and items out of files of your own: jsonl, csv, tsv or parquet, read line by line.

Columns have the contract's names or are named by a mapping; a number may be text. A line that breaks the contract is
reported with its number and the reason that the worker would dead-letter it for.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from schemas.codec import RatingDecoder, decode_item
from schemas.errors import DataError, EventError
from schemas.events import Item, RatingEvent
from services.lab.cells import is_nan, read_attributes, read_genres, read_integer, read_number, read_year
from services.lab.rows import BadLine, Row, read_lines, read_rows

RATING_COLUMNS = ("user_id", "item_id", "rating", "event_id", "ts_ms", "request_id", "v")
ITEM_COLUMNS = ("item_id", "title", "genres", "year", "language", "rating", "attributes", "v")

_CELL_READERS: dict[str, Callable[[Any], Any]] = {
    "rating": read_number,
    "ts_ms": read_integer,
    "v": read_integer,
    "genres": read_genres,
    "year": read_year,
    "attributes": read_attributes,
}
_Event = TypeVar("_Event")
_OnBad = Callable[[BadLine], None]


def parse_columns(text: str) -> dict[str, str]:
    """Return the mapping that ``--columns`` says.

    Raises:
        ValueError: a part is not NAME=COLUMN, or a name comes twice.

    >>> parse_columns("user_id=user, item_id=movie")
    {'user_id': 'user', 'item_id': 'movie'}
    """
    columns: dict[str, str] = {}
    for part in text.split(","):
        name, _, column = (side.strip() for side in part.partition("="))
        if not name or not column or name in columns:
            raise ValueError(f"columns must be NAME=COLUMN,NAME=COLUMN with each NAME once, got {text!r}")
        columns[name] = column
    return columns


def read_ratings(
    path: Path,
    columns: Mapping[str, str] | None = None,
    *,
    rating_min: float = 0.5,
    rating_max: float = 5.0,
    on_bad: _OnBad | None = None,
) -> Iterator[RatingEvent]:
    """Yield the ratings of a file, in its order.

    Args:
        path: a .jsonl, .csv, .tsv or .parquet file of any size.
        columns: the file's own name of a column, by the contract's name.
        rating_min: the lowest rating allowed.
        rating_max: the highest rating allowed.
        on_bad: told of each line that breaks the contract; such lines are left out. None: the first one raises.

    Raises:
        DataError: the file cannot be read or lacks a column; or a line is bad and ``on_bad`` is None.
        ValueError: ``columns`` or the scale is wrong.
    """
    decode = RatingDecoder(rating_min, rating_max).decode
    rows = read_rows(path, RATING_COLUMNS, ("user_id", "item_id", "rating"), columns or {})
    return _decode_rows(path, rows, decode, on_bad, keeps_nan=("rating",))


def read_items(
    path: Path,
    columns: Mapping[str, str] | None = None,
    *,
    on_bad: _OnBad | None = None,
) -> Iterator[Item]:
    """Yield the items of a file, in its order.

    Genres may be a list, a printed list (``['Crime', 'Drama']``) or joined (``Crime|Drama``); a year a number or a
    printed list of one (``[1994]``).

    Args:
        path: a .jsonl, .csv, .tsv or .parquet file of any size.
        columns: the file's own name of a column, by the contract's name.
        on_bad: told of each line that breaks the contract; such lines are left out. None: the first one raises.

    Raises:
        DataError: the file cannot be read or lacks a column; or a line is bad and ``on_bad`` is None.
        ValueError: ``columns`` is wrong.
    """
    rows = read_rows(path, ITEM_COLUMNS, ("item_id",), columns or {})
    return _decode_rows(path, rows, decode_item, on_bad, keeps_nan=())


def read_own_ratings(path: Path, decoder: RatingDecoder, *, on_bad: _OnBad) -> Iterator[RatingEvent]:
    """Yield the ratings of a jsonl file whose lines are what your own producer sends, as a worker would decode them.

    Args:
        path: a .jsonl file of any size.
        decoder: of your own events, see :class:`schemas.mapping.MappedRatingDecoder`.
        on_bad: told of each line that the worker would dead-letter; such lines are left out.

    Raises:
        DataError: the file is missing, or of another kind.
    """
    if path.suffix.lower() != ".jsonl":
        raise DataError(f"{path} must end in .jsonl: of other files, --columns says what a field is called")
    for number, line in read_lines(path):
        try:
            if isinstance(line, EventError):
                raise line
            yield decoder.decode(line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if number == 1 else b""))
        except EventError as error:
            on_bad(BadLine(number, error.reason, error.message))


def _decode_rows(
    path: Path,
    rows: Iterator[Row],
    decode: Callable[[bytes], _Event],
    on_bad: _OnBad | None,
    *,
    keeps_nan: tuple[str, ...],
) -> Iterator[_Event]:
    for row in rows:
        try:
            yield decode(_encode_row(row, keeps_nan))
        except EventError as error:
            if on_bad is None:
                raise DataError(f"{path}, line {row.line}: {error}") from error
            on_bad(BadLine(row.line, error.reason, error.message))


def _encode_row(row: Row, keeps_nan: tuple[str, ...]) -> bytes:
    """Return a row as the JSON that a producer would send; NaN, infinities and lone surrogates pass through."""
    if isinstance(row.fields, EventError):
        raise row.fields
    fields = {}
    for name, cell in row.fields.items():
        read = _CELL_READERS.get(name)
        value = cell if read is None else read(cell)
        if name in keeps_nan or not is_nan(value):
            fields[name] = value
    try:
        return json.dumps(fields).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EventError("wrong_type", f"the row has a value that JSON has no word for: {error}") from error
