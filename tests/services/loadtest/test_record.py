"""A run in a folder: what comes back, and what is said of a folder that is not as it was written."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import DataError
from services.loadtest.record import RATINGS, FileRecorder, as_table, read_about, read_record, refuse_occupied
from services.loadtest.records import NOT_ACKNOWLEDGED
from services.loadtest.world import publish_world

ROWS = [(0, 0.0, b"{}", 1, 0), (1, 0.5, b"\xff", 1, 1), (2, 0.75, b"", NOT_ACKNOWLEDGED, NOT_ACKNOWLEDGED)]


@pytest.fixture
def folder(tmp_path):
    directory = tmp_path / "a" / "record"
    with FileRecorder(directory, {"replay": "synthetic"}) as recorder:
        for row in reversed(ROWS):
            recorder.rating(*row)
        recorder.request(0, 0.25, b"question")
        recorder.answer(b"first", 1.5)
        recorder.answer(b"again", 1.75)
    return directory


def change_manifest(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def rewrite(folder, rows, schema=RATINGS):
    pq.write_table(as_table(rows, schema), folder / "ratings.parquet")


def test_what_was_recorded_is_read_to_the_byte_in_the_order_of_the_schedule(folder):
    record = read_record(folder)
    assert [(r.seq, r.intended_s, r.value, r.partition, r.offset) for r in record.ratings] == ROWS
    assert [rating.is_acknowledged for rating in record.ratings] == [True, True, False]
    assert [(r.seq, r.intended_s, r.value) for r in record.requests] == [(0, 0.25, b"question")]
    assert record.answers == [b"first", b"again"]
    assert record.about == read_about(folder) == {"replay": "synthetic"}


def test_more_rows_than_a_group_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("services.loadtest.record.ROWS_A_GROUP", 2)
    with FileRecorder(tmp_path / "r", {}) as recorder:
        for seq in range(5):
            recorder.request(seq, 0.0, b"%d" % seq)
    assert [request.value for request in read_record(tmp_path / "r").requests] == [b"0", b"1", b"2", b"3", b"4"]


def test_run_that_failed_leaves_no_record(tmp_path):
    with pytest.raises(KeyError), FileRecorder(tmp_path / "r", {}) as recorder:  # noqa: PT012 - leaving it is what fails
        recorder.request(0, 0.0, b"")
        raise KeyError
    with pytest.raises(DataError, match=r"r/manifest\.json does not exist: .* is no record, or its run did not end"):
        read_record(tmp_path / "r")


def test_folder_that_holds_something_takes_no_record(folder, tmp_path):
    with pytest.raises(DataError, match=r"record must be empty to hold a record, it has answers\.parquet, manifest"):
        FileRecorder(folder, {})
    refuse_occupied(tmp_path / "none")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"layout": 2}, "layout must be 1, got 2"),
        ({"layout": None}, "layout must be 1, got None"),
        ({"about": 3}, "must have 'about' and the 'rows' of ratings, requests, answers"),
        ({"rows": {"ratings": 3}}, "must have 'about' and the 'rows' of ratings, requests, answers"),
        ({"rows": {"ratings": 3, "requests": 2, "answers": 2}}, r"requests\.parquet must have 2 rows, .* got 1"),
    ],
)
def test_manifest_that_says_something_else_is_refused(folder, values, why):
    change_manifest(folder, **values)
    with pytest.raises(DataError, match=why):
        read_record(folder)


def test_manifest_that_is_no_json_is_refused(folder):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        read_about(folder)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([ROWS[0], (1, 0.0, b"", 1, 0), ROWS[2]], "row 2: partition 1 offset 0 is that of row 1"),
        ([(0, 0.0, b"", 1, -1), *ROWS[1:]], "row 1: partition and offset must be at least 0, got 1 and -1"),
        ([ROWS[0], (1, 0.0, None, 1, 1), ROWS[2]], "row 2: value must be given, got null"),
    ],
)
def test_rating_that_cannot_be_is_refused_by_row(folder, rows, why):
    rewrite(folder, rows)
    with pytest.raises(DataError, match=rf"ratings\.parquet {why}"):
        read_record(folder)


def test_file_of_other_columns_or_none_is_refused(folder):
    rewrite(folder, [(1,)], pa.schema([("seq", pa.int64())]))
    with pytest.raises(DataError, match=r"ratings\.parquet must have the columns seq int64, .* got seq int64$"):
        read_record(folder)
    (folder / "ratings.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"ratings\.parquet cannot be read"):
        read_record(folder)
    (folder / "ratings.parquet").unlink()
    with pytest.raises(DataError, match=r"ratings\.parquet cannot be read"):
        read_record(folder)


def test_record_without_a_catalogue_says_so_before_anything_is_published(folder, make_settings):
    with pytest.raises(DataError, match="holds no catalogue and releases"):
        publish_world(folder, make_settings())
    release = {"name": "items", "version": "1", "kind": "embedding", "uri": "", "sha256": "0" * 64}
    change_manifest(folder, releases=[release])
    with pytest.raises(DataError, match="must have the file of items@1, it has none"):
        publish_world(folder, make_settings())
    change_manifest(folder, releases=[{"name": "items"}])
    with pytest.raises(DataError, match=r"manifest\.json: a release cannot be read: missing_field"):
        publish_world(folder, make_settings())
