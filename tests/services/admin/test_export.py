"""The state as parquet."""

from unittest.mock import patch

import pandas as pd
import pytest

from recommender.hashing import hash_id
from recommender.ledger import LastEvent, Ledger, apply_event
from schemas.errors import DataError
from services.admin import export as module
from services.admin.export import export_state

NAMES = {hash_id(name): name for name in "ab"}


def ledgers(users=3):
    for number in range(users):
        ledger = Ledger.empty(2)
        for offset, name in enumerate("abca"):
            at = LastEvent(1, number, offset)
            ledger = apply_event(ledger, item=hash_id(name), rating=15000, event=0, at=at, x=None)
        yield f"u{number}", ledger


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_pandas_reads_a_row_a_user_and_item_and_a_row_a_user(tmp_path, rows):
    out = tmp_path / "entries.parquet"
    with patch.object(module, "ROWS_A_GROUP", rows):
        assert export_state(ledgers(), NAMES, out) == (3, 9)
    rated = pd.read_parquet(out).sort_values(["user_id", "item_id"])
    unknown = f"#{hash_id('c'):016x}"
    assert rated[rated.user_id == "u1"].to_numpy().tolist() == [
        ["u1", unknown, 1, 2, 1.5],
        ["u1", "a", 2, 3, 3.0],
        ["u1", "b", 1, 1, 1.5],
    ]
    users = pd.read_parquet(tmp_path / "users.parquet")
    assert users.columns.tolist() == ["user_id", "t", "partition", "offset", "mean"]
    assert [[*row[:4], list(row[4])] for row in users.to_numpy().tolist()][2] == ["u2", 4, 2, 3, [0.0, 0.0]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entries.parquet", "users.parquet"]


def test_state_without_users_gives_empty_tables(tmp_path):
    assert export_state([], {}, tmp_path / "e.parquet") == (0, 0)
    assert len(pd.read_parquet(tmp_path / "e.parquet")) == 0


def test_failure_in_the_middle_leaves_no_file_and_keeps_an_older_one(tmp_path):
    out = tmp_path / "entries.parquet"
    out.write_bytes(b"older")

    def fails():
        yield from ledgers(1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        export_state(fails(), {}, out)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("entries.parquet", b"older")]


def test_entries_cannot_have_the_name_of_the_users(tmp_path):
    with pytest.raises(DataError, match="another name"):
        export_state([], {}, tmp_path / "users.parquet")


def test_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        export_state([], {}, tmp_path / "none" / "e.parquet")
