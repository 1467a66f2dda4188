"""The state as parquet, for data frames: a row a user and item, and a row a user."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from recommender.ledger import Ledger, entries
from schemas.codec import RATING_QUANTUM
from schemas.errors import DataError

USERS_FILE = "users.parquet"
ROWS_A_GROUP = 100_000

ENTRIES = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("count", pa.uint32()),
        ("last_t", pa.uint32()),
        ("rating_sum", pa.float64()),
    ]
)
USERS = pa.schema(
    [
        ("user_id", pa.string()),
        ("t", pa.uint64()),
        ("partition", pa.uint32()),
        ("offset", pa.uint64()),
        ("mean", pa.list_(pa.float64())),
    ]
)


class Exported(NamedTuple):
    """How much was written."""

    users: int
    entries: int


def export_state(
    ledgers: Iterable[tuple[str, Ledger]],
    item_ids: Mapping[int, str],
    out: Path,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Exported:
    """Write entries to ``out`` and users beside it, :data:`ROWS_A_GROUP` rows in memory at most, and a user's.

    Both files appear under their names when they are complete.

    Args:
        ledgers: every user with the ledger.
        item_ids: ids by hash; an item that is not among them is written as its hash, ``#`` and 16 hex digits.
        out: the file of entries; its folder takes ``users.parquet`` too.
        on_progress: told how many users were written so far.

    Raises:
        DataError: a file cannot be written, or ``out`` is the users' file.
    """
    if out.name == USERS_FILE:
        raise DataError(f"{out} is where the users go: give the entries another name")
    users_out = out.with_name(USERS_FILE)
    try:
        with ExitStack() as opened:
            rated = opened.enter_context(_Rows(out, ENTRIES))
            users = opened.enter_context(_Rows(users_out, USERS))
            for user_id, ledger in ledgers:
                last = ledger.last
                place = (None, None) if last is None else (last.partition, last.offset)
                users.add((user_id, ledger.t, *place, ledger.mean.tolist()))
                for item, count, last_t, total in entries(ledger).tolist():
                    rated.add((user_id, item_ids.get(item) or f"#{item:016x}", count, last_t, total / RATING_QUANTUM))
                if users.count % 1000 == 0:
                    on_progress(users.count)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{out} cannot be written: {error}") from error
    return Exported(users.count, rated.count)


class _Rows:
    """A parquet file that is written a group of rows at a time, under another name until it is complete."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._partial = path.with_name(f"{path.name}.partial")
        self._rows: list[tuple[Any, ...]] = []
        self.count = 0

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(self._schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._rows = []

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self._partial, self._schema)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()
            if kind is not None:
                self._partial.unlink(missing_ok=True)
        if kind is None:
            self._partial.replace(self._path)
