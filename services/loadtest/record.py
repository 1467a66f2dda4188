"""A run kept in a folder, so that it can be played again: what was sent, what was answered, and in which world.

manifest.json      written last, so that a folder without it is no record: layout, what the run was, rows of each file
ratings.parquet    seq, intended_s, value, partition, offset: every record of ``ratings``, bad ones to the byte
requests.parquet   seq, intended_s, value
answers.parquet    received_s, value: as they came, repeats among them
items.parquet      item_id, value, listed: the catalogue in its order
models/            the file of every active release; the releases themselves are in the manifest
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import DataError
from services.loadtest.records import NOT_ACKNOWLEDGED

LAYOUT = 1
MANIFEST = "manifest.json"
ROWS_A_GROUP = 10_000

RATINGS = pa.schema(
    [
        ("seq", pa.int64()),
        ("intended_s", pa.float64()),
        ("value", pa.binary()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)
REQUESTS = pa.schema([("seq", pa.int64()), ("intended_s", pa.float64()), ("value", pa.binary())])
ANSWERS = pa.schema([("received_s", pa.float64()), ("value", pa.binary())])
_FILES = {"ratings": RATINGS, "requests": REQUESTS, "answers": ANSWERS}


@dataclass(frozen=True, slots=True)
class RecordedRating:
    """A record of ``ratings``, as :meth:`services.loadtest.records.Recorder.rating` takes it."""

    seq: int
    intended_s: float
    value: bytes
    partition: int
    offset: int

    @property
    def is_acknowledged(self) -> bool:
        """Whether the broker said where it lies."""
        return self.partition != NOT_ACKNOWLEDGED


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A record of ``requests``, as :meth:`services.loadtest.records.Recorder.request` takes it."""

    seq: int
    intended_s: float
    value: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A run, as it was kept.

    Attributes:
        about: what was said of it.
        ratings: by ``seq``.
        requests: by ``seq``.
        answers: values of ``recommendations`` as they came.
    """

    about: Mapping[str, Any]
    ratings: list[RecordedRating]
    requests: list[RecordedRequest]
    answers: list[bytes]


class FileRecorder:
    """Keeps a run in a folder; see :class:`services.loadtest.records.Recorder`.

    A context manager: left without an exception, the record is whole; else the folder has no manifest.

    Args:
        directory: made where there is none.
        about: what to say of the run, as JSON has it.

    Raises:
        DataError: the folder holds something already, or cannot be written.
    """

    def __init__(self, directory: Path, about: Mapping[str, Any]) -> None:
        refuse_occupied(directory)
        self.directory = directory
        self._manifest: dict[str, Any] = {"layout": LAYOUT, "about": dict(about)}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._files = {name: _Rows(path_of(directory, name), schema) for name, schema in _FILES.items()}
        except OSError as error:
            raise DataError(f"{directory} cannot be written: {error}") from error

    def rating(self, seq: int, intended_s: float, event_bytes: bytes, partition: int, offset: int) -> None:
        """Take a record of ``ratings``."""
        self._files["ratings"].add((seq, intended_s, event_bytes, partition, offset))

    def request(self, seq: int, intended_s: float, request_bytes: bytes) -> None:
        """Take a record of ``requests``."""
        self._files["requests"].add((seq, intended_s, request_bytes))

    def answer(self, value_bytes: bytes, received_s: float) -> None:
        """Take a record of ``recommendations``."""
        self._files["answers"].add((received_s, value_bytes))

    def note(self, name: str, value: Any) -> None:
        """Write a value beside ``about`` into the manifest."""
        self._manifest[name] = value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        if kind is None:
            self._manifest["rows"] = {name: file.count for name, file in self._files.items()}
            path, text = self.directory / MANIFEST, json.dumps(self._manifest, indent=2) + "\n"
            part = path.with_name(f"{path.name}.part")
            part.write_text(text)
            part.replace(path)


class _Rows:
    """A parquet file that is written a group of rows at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[tuple[Any, ...]] = []
        self.count = 0

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= ROWS_A_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(as_table(self._rows, self._schema))
        self._rows = []


def as_table(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


def path_of(directory: Path, name: str) -> Path:
    """Return where a file of a record lies."""
    return directory / f"{name}.parquet"


def refuse_occupied(directory: Path) -> None:
    """Refuse a folder that holds something: a record is kept whole or not at all.

    Raises:
        DataError: naming the folder and what is in it.
    """
    try:
        found = sorted(path.name for path in directory.iterdir()) if directory.exists() else []
    except OSError as error:
        raise DataError(f"{directory} cannot hold a record: {error}") from error
    if found:
        raise DataError(f"{directory} must be empty to hold a record, it has {', '.join(found[:3])}: name another")


def read_about(directory: Path) -> dict[str, Any]:
    """Return what was said of a recorded run.

    Raises:
        DataError: the folder is no record, or one of a layout that is not known.
    """
    about: dict[str, Any] = read_manifest(directory)["about"]
    return about


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a record.

    Raises:
        DataError: the folder is no record, or one of a layout that is not known.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: {directory} is no record, or its run did not end") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    layout = manifest.get("layout") if isinstance(manifest, dict) else None
    if layout != LAYOUT:
        raise DataError(f"{path}: layout must be {LAYOUT}, got {layout!r}: another version of streamrec wrote it")
    rows = manifest.get("rows")
    if not isinstance(manifest.get("about"), dict) or not isinstance(rows, dict) or rows.keys() != _FILES.keys():
        raise DataError(f"{path} must have 'about' and the 'rows' of {', '.join(_FILES)}, got {sorted(manifest)}")
    return dict(manifest)


def read_record(directory: Path) -> Record:
    """Return a run, as it was kept.

    Raises:
        DataError: the folder is no record, or a file of it is not as it was written; with the file and the value.
    """
    manifest = read_manifest(directory)
    tables = {name: read_table(directory, name, schema, manifest["rows"][name]) for name, schema in _FILES.items()}
    ratings = [RecordedRating(**row) for row in tables["ratings"].to_pylist()]
    requests = [RecordedRequest(**row) for row in tables["requests"].to_pylist()]
    _check_places(path_of(directory, "ratings"), ratings)
    return Record(
        about=manifest["about"],
        ratings=sorted(ratings, key=lambda rating: rating.seq),
        requests=sorted(requests, key=lambda request: request.seq),
        answers=tables["answers"].column("value").to_pylist(),
    )


def read_table(directory: Path, name: str, schema: pa.Schema, rows: int | None = None) -> pa.Table:
    """Return a file of a record.

    Raises:
        DataError: it cannot be read, or has other columns, missing values or another number of rows.
    """
    path = path_of(directory, name)
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if table.schema != schema:
        raise DataError(f"{path} must have the columns {_named(schema)}, got {_named(table.schema)}")
    if rows is not None and table.num_rows != rows:
        raise DataError(f"{path} must have {rows} rows, as the manifest says, got {table.num_rows}")
    for column in schema.names:
        if table.column(column).null_count:
            row = table.column(column).is_null().index(True).as_py()
            raise DataError(f"{path} row {row + 1}: {column} must be given, got null")
    return table


def _named(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _check_places(path: Path, ratings: list[RecordedRating]) -> None:
    known: dict[tuple[int, int], int] = {}
    for row, rating in enumerate(ratings, 1):
        place = rating.partition, rating.offset
        if place == (NOT_ACKNOWLEDGED, NOT_ACKNOWLEDGED):
            continue
        if min(place) < 0:
            raise DataError(f"{path} row {row}: partition and offset must be at least 0, got {place[0]} and {place[1]}")
        if place in known:
            raise DataError(f"{path} row {row}: partition {place[0]} offset {place[1]} is that of row {known[place]}")
        known[place] = row
