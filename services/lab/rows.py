"""Rows of jsonl, csv and parquet files, one at a time: a file of any size takes the memory of one batch."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import DataError, EventError

MAX_LINE_BYTES = 1 << 20
_BATCH_ROWS = 1 << 12
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that breaks the contract.

    Attributes:
        line: its number in the file, from 1 (csv: of the row's last line, jsonl: of the line, parquet: of the row).
        reason: one of :data:`schemas.events.DEAD_LETTER_REASONS`.
        message: a sentence with the value and the allowed range.
    """

    line: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one line, by the contract's names, or why there are none.

    Attributes:
        line: its number in the file, as in :class:`BadLine`.
        fields: value by contract name; of csv always text. An absent or empty field has no entry.
    """

    line: int
    fields: dict[str, Any] | EventError


def read_rows(path: Path, names: Sequence[str], required: Sequence[str], columns: Mapping[str, str]) -> Iterator[Row]:
    """Return the rows of a file, read as they are asked for.

    Args:
        path: a .jsonl, .csv, .tsv or .parquet file.
        names: the contract's names to read.
        required: those that a csv or parquet file must have a column for.
        columns: the file's own name of a column, by the contract's name.

    Raises:
        DataError: the file is missing, unreadable or of another kind, or lacks a column. Found before the first row,
            but for a parquet file damaged further in.
        ValueError: ``columns`` names what the contract does not.
    """
    if unknown := sorted(set(columns) - set(names)):
        raise ValueError(f"columns must be of {', '.join(names)}, got {', '.join(unknown)}")
    readers: dict[str, Callable[[Path, Mapping[str, str], set[str]], Iterator[Row]]] = {
        ".jsonl": _read_jsonl,
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} must end in {', '.join(readers)}")
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    wanted = {name: columns.get(name, name) for name in names}
    # A column that was named must exist, required or not: a typing error would silently drop it.
    return reader(path, wanted, {*required, *columns})


def read_lines(path: Path) -> Iterator[tuple[int, bytes | EventError]]:
    """Yield the lines of a jsonl file that are not blank, each with its number, as they are or why they are too long.

    Raises:
        DataError: the file is missing.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                yield number, EventError("too_large", f"a line may have {MAX_LINE_BYTES} bytes, this has more")
            elif line.strip():
                yield number, line


def _read_jsonl(path: Path, wanted: Mapping[str, str], _required: set[str]) -> Iterator[Row]:
    for number, line in read_lines(path):
        yield Row(number, line if isinstance(line, EventError) else _read_json_line(line, wanted))


def _read_json_line(line: bytes, wanted: Mapping[str, str]) -> dict[str, Any] | EventError:
    try:
        found = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return EventError("not_utf8", f"the line must be UTF-8, byte {error.start} is not")
    except (ValueError, RecursionError) as error:
        return EventError("not_json", f"the line must be JSON: {error}")
    if not isinstance(found, dict):
        return EventError("wrong_type", f"the line must be a JSON object, got a {type(found).__name__}")
    return {name: found[column] for name, column in wanted.items() if column in found}


def _read_csv(path: Path, wanted: Mapping[str, str], required: set[str]) -> Iterator[Row]:
    # What is not UTF-8 becomes lone surrogates, which fail in their own row only.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=_DELIMITERS[path.suffix.lower()])
        header = next(reader, [])
        places = _find_columns(path, header, wanted, required)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(reader.line_num, EventError("too_large", f"the row cannot be read: {error}"))
                continue
            if cells:
                yield Row(reader.line_num, _read_csv_cells(cells, len(header), places))


def _read_csv_cells(cells: list[str], width: int, places: Mapping[str, int]) -> dict[str, Any] | EventError:
    if len(cells) != width:
        return EventError("wrong_type", f"a row must have {width} fields as the header has, got {len(cells)}")
    fields = {name: cells[place] for name, place in places.items() if cells[place] != ""}
    try:
        "".join(fields.values()).encode()
    except UnicodeEncodeError:
        return EventError("not_utf8", "the row must be UTF-8")
    return fields


def _read_parquet(path: Path, wanted: Mapping[str, str], required: set[str]) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            places = _find_columns(path, file.schema_arrow.names, wanted, required)
            present = {name: wanted[name] for name in places}
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(present.values())):
                for values in zip(*(_to_values(batch.column(column)) for column in present.values()), strict=True):
                    number += 1
                    pairs = zip(present, values, strict=True)
                    yield Row(number, {name: value for name, value in pairs if value is not None})
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}, after row {number}: {error}") from error


def _to_values(column: pa.Array) -> list[Any]:
    """Return a column as Python values; times as milliseconds since 1970, as ``ts_ms`` has them."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False).cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values


def _find_columns(path: Path, found: list[str], wanted: Mapping[str, str], required: set[str]) -> dict[str, int]:
    """Return the place of each wanted column that the file has.

    Raises:
        DataError: a required column is missing, or a wanted one is there twice.
    """
    for name, column in wanted.items():
        times = found.count(column)
        if times > 1:
            raise DataError(f"{path} has {times} columns {column!r}")
        if times == 0 and name in required:
            raise DataError(
                f"{path} has no column {column!r} for {name}; its columns are {', '.join(found) or 'none'} "
                f"(--columns {name}=NAME says which one it is)"
            )
    return {name: found.index(column) for name, column in wanted.items() if column in found}
