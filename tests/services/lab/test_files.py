import json
import tracemalloc

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec import RatingDecoder
from schemas.errors import DataError, EventError
from schemas.events import Item, RatingEvent
from services.lab.files import parse_columns, read_items, read_ratings
from services.lab.rows import MAX_LINE_BYTES, BadLine

ALICE = RatingEvent(user_id="7", item_id="m1", rating=4.0, event_id="e1", ts_ms=881250949000)
BOB = RatingEvent(user_id="bob", item_id="m2", rating=0.5)
JSONL = """\
{"user_id": 7, "item_id": "m1", "rating": 4, "event_id": "e1", "ts_ms": 881250949000, "mood": "good"}

{"user_id": "bob", "item_id": "m2", "rating": 0.5, "event_id": null}
"""
CSV = "user_id,item_id,rating,event_id,ts_ms,mood\n7,m1,4,e1,881250949000,good\nbob,m2,0.5,,,\n"


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_parquet(tmp_path, **columns):
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def read_all(path, columns=None, read=read_ratings):
    """Read with every bad line collected."""
    bad = []
    return list(read(path, columns, on_bad=bad.append)), bad


@pytest.fixture(params=["jsonl", "csv", "csv with mark", "tsv", "parquet"])
def ratings_file(request, tmp_path):
    """The same two ratings in every format."""
    if request.param == "jsonl":
        return write(tmp_path, "data.jsonl", JSONL)
    if request.param == "csv":
        return write(tmp_path, "data.csv", CSV)
    if request.param == "csv with mark":
        return write(tmp_path, "data.CSV", b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode())
    if request.param == "tsv":
        return write(tmp_path, "data.tsv", CSV.replace(",", "\t"))
    return write_parquet(
        tmp_path,
        user_id=["7", "bob"],
        item_id=["m1", "m2"],
        rating=[4.0, 0.5],
        event_id=["e1", None],
        ts_ms=[881250949000, None],
        mood=["good", None],
    )


def test_every_format_says_the_same(ratings_file):
    assert list(read_ratings(ratings_file)) == [ALICE, BOB]


def test_columns_are_renamed(tmp_path):
    path = write(tmp_path, "data.csv", "user,movie,stars,user_id\n7,m1,4,ignored\n")
    columns = parse_columns("user_id=user,item_id=movie,rating=stars")
    assert list(read_ratings(path, columns)) == [RatingEvent(user_id="7", item_id="m1", rating=4.0)]
    path = write(tmp_path, "data.jsonl", '{"user": 7, "movie": "m1", "stars": "4"}')
    assert list(read_ratings(path, columns)) == [RatingEvent(user_id="7", item_id="m1", rating=4.0)]


def test_times_of_parquet_become_milliseconds(tmp_path):
    when = pd.to_datetime(["1997-12-04 15:55:49", None])
    path = write_parquet(tmp_path, user_id=["u", "u"], item_id=[1, 2], rating=[1, 2], at=when)
    events = list(read_ratings(path, {"ts_ms": "at"}))
    assert [event.ts_ms for event in events] == [881250949000, None]
    assert [event.item_id for event in events] == ["1", "2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"user_id": "u", "item_id": "i"}', "missing_field"),
        (b'{"user_id": "u", "item_id": "i", "rating": "four"}', "wrong_type"),
        (b'{"user_id": "u", "item_id": "i", "rating": null}', "wrong_type"),
        (b'{"user_id": "u", "item_id": "i", "rating": true}', "wrong_type"),
        (b'{"user_id": "u", "item_id": "i", "rating": 5.5}', "rating_out_of_range"),
        (b'{"user_id": "u", "item_id": "i", "rating": NaN}', "rating_not_finite"),
        (b'{"user_id": "u", "item_id": "i", "rating": 1e999}', "rating_not_finite"),
        (b'{"user_id": "", "item_id": "i", "rating": 4}', "bad_id"),
        (b'{"user_id": ["u"], "item_id": "i", "rating": 4}', "wrong_type"),
        (b'{"user_id": "\\ud800", "item_id": "i", "rating": 4}', "bad_id"),
        (b'{"user_id": "u", "item_id": "i", "rating": 4, "v": 2}', "unknown_version"),
        (b'{"user_id": "u", "item_id": "i", "rating": 4, "ts_ms": 0.5}', "wrong_type"),
        (b'{"user_id": "u', "not_json"),
        (b"[1, 2]", "wrong_type"),
        (b'{"user_id": "\xff", "item_id": "i", "rating": 4}', "not_utf8"),
        (b"[" * 100_000, "not_json"),
        (b" " * (MAX_LINE_BYTES + 1), "too_large"),
        (b'{"user_id": "%s", "item_id": "i", "rating": 4}' % (b"u" * 20_000), "too_large"),
    ],
)
def test_bad_json_line_is_named_and_its_neighbours_are_read(tmp_path, line, reason):
    good = b'{"user_id": "bob", "item_id": "m2", "rating": 0.5}'
    path = write(tmp_path, "data.jsonl", b"\n".join([good, line, good]))
    events, bad = read_all(path)
    assert events == [BOB, BOB]
    assert [(fault.line, fault.reason) for fault in bad] == [(2, reason)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"u,,4", "missing_field"),
        (b"u,i,", "missing_field"),
        (b"u,i,four", "wrong_type"),
        (b"u,i,1_0", "wrong_type"),
        (b"u,i,nan", "rating_not_finite"),
        (b"u,i,-inf", "rating_not_finite"),
        (b"u,i,0", "rating_out_of_range"),
        (b"u,i", "wrong_type"),
        (b"u,i,4,5", "wrong_type"),
        (b"\xff,i,4", "not_utf8"),
        (b"u" * 129 + b",i,4", "bad_id"),
        (b"u" * 140_000 + b",i,4", "too_large"),
    ],
)
def test_bad_csv_row_is_named_and_its_neighbours_are_read(tmp_path, row, reason):
    path = write(tmp_path, "data.csv", b"\n".join([b"user_id,item_id,rating", b"bob,m2,0.5", row, b"bob,m2,0.5", b""]))
    events, bad = read_all(path)
    assert events == [BOB, BOB]
    assert [(fault.line, fault.reason) for fault in bad] == [(3, reason)]


def test_line_of_a_csv_row_is_that_of_the_file_when_cells_span_lines(tmp_path):
    path = write(tmp_path, "data.csv", 'user_id,item_id,rating\n"a\nb",i,4\nu,i,9\n')
    events, bad = read_all(path)
    assert [event.user_id for event in events] == ["a\nb"]
    assert [fault.line for fault in bad] == [4]


def test_bad_parquet_row_is_named(tmp_path):
    path = write_parquet(tmp_path, user_id=["u", None, "u"], item_id=["i", "i", "i"], rating=[4.0, 4.0, float("nan")])
    events, bad = read_all(path)
    assert len(events) == 1
    assert bad == [
        BadLine(2, "missing_field", "user_id is required"),
        BadLine(3, "rating_not_finite", "rating must be finite, got nan"),
    ]


def test_parquet_values_without_a_json_word_are_bad_lines(tmp_path):
    path = write_parquet(tmp_path, user_id=[b"\xff"], item_id=["i"], rating=[4.0])
    assert [fault.reason for fault in read_all(path)[1]] == ["wrong_type"]


def test_first_bad_line_raises_unless_somebody_listens(tmp_path):
    path = write(tmp_path, "data.csv", "user_id,item_id,rating\nu,i,9\n")
    with pytest.raises(DataError, match=r"data\.csv, line 2: rating_out_of_range: rating must be in \[0\.5, 5\.0\]"):
        list(read_ratings(path))


def test_scale_is_the_one_given(tmp_path):
    path = write(tmp_path, "data.csv", "user_id,item_id,rating\nu,i,9\n")
    assert [event.rating for event in read_ratings(path, rating_min=0, rating_max=10)] == [9.0]


@pytest.mark.parametrize("name", ["data.csv", "data.parquet"])
def test_missing_column_names_those_there_are(tmp_path, name):
    if name == "data.csv":
        path = write(tmp_path, name, "user,item_id,rating\nu,i,4\n")
    else:
        path = write_parquet(tmp_path, user=["u"], item_id=["i"], rating=[4.0])
    with pytest.raises(DataError, match="no column 'user_id' for user_id; its columns are user, item_id, rating"):
        list(read_ratings(path))
    with pytest.raises(DataError, match="no column 'at' for ts_ms"):
        list(read_ratings(path, {"user_id": "user", "ts_ms": "at"}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.csv", "", "no column 'user_id' for user_id; its columns are none"),
        ("data.csv", "user_id,item_id,item_id,rating\n", "has 2 columns 'item_id'"),
        ("data.parquet", "not parquet", r"data\.parquet, after row 0: "),
        ("data.xlsx", "", r"must end in \.jsonl, \.csv, \.tsv, \.parquet"),
    ],
)
def test_unreadable_file_is_one_data_error(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        list(read_ratings(write(tmp_path, name, content)))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv is not a file"):
        list(read_ratings(tmp_path / "none.csv"))


def test_parquet_damaged_further_in_is_a_data_error(tmp_path):
    path = write_parquet(tmp_path, user_id=[f"u{i}" for i in range(5_000)], item_id=["i"] * 5_000, rating=[4.0] * 5_000)
    content = bytearray(path.read_bytes())
    content[4:2_000] = b"\xff" * 1_996
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.parquet, after row \d+: "):
        list(read_ratings(path))


def test_header_alone_and_empty_jsonl_have_no_ratings(tmp_path):
    assert list(read_ratings(write(tmp_path, "data.csv", "user_id,item_id,rating\n"))) == []
    assert list(read_ratings(write(tmp_path, "data.jsonl", ""))) == []


@pytest.mark.parametrize("name", ["data.jsonl", "data.csv", "data.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    ids = [f"user {i}" for i in range(20_000)]
    frame = pd.DataFrame({"user_id": ids, "item_id": ids, "rating": 4.0})
    path = tmp_path / name
    if name == "data.jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif name == "data.csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    next(read_ratings(path))
    tracemalloc.start()
    count = sum(1 for _ in read_ratings(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    # All events at once would take over 20,000 x 200 bytes = 4 MB; a batch of 4,096 rows takes about 1 MB.
    assert peak < 2_000_000


@pytest.mark.parametrize("text", ["", "user_id", "user_id=", "=user", "user_id=a,user_id=b", "user_id=a,,"])
def test_columns_that_are_no_mapping_are_refused(text):
    with pytest.raises(ValueError, match="columns must be NAME=COLUMN"):
        parse_columns(text)


def test_column_the_contract_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"columns must be of user_id, item_id, rating, .*, got user"):
        list(read_ratings(write(tmp_path, "data.csv", ""), {"user": "user_id"}))


HEAT = Item(item_id="6", title="Heat", genres=("Action", "Crime"), year=1995)


@pytest.mark.parametrize(
    ("genres", "year"),
    [("\"['Action', 'Crime']\"", "[1995]"), ("Action|Crime", "1995"), ('"[""Action"", ""Crime""]"', "1995.0")],
)
def test_items_of_csv_take_printed_lists(tmp_path, genres, year):
    path = write(tmp_path, "items.csv", f"item_id,title,genres,year\n6,Heat,{genres},{year}\n7,,,\n")
    assert list(read_items(path)) == [HEAT, Item(item_id="7")]


def test_items_of_jsonl_take_lists_and_attributes(tmp_path):
    rows = [
        {"item_id": 6, "title": "Heat", "genres": ["Action", "Crime"], "year": 1995},
        {"item_id": "6", "title": "Heat", "genres": "Action|Crime", "year": "[1995]"},
        {"item_id": "8", "title": None, "genres": None, "language": "fr", "rating": 4.5, "attributes": {"long": True}},
    ]
    path = write(tmp_path, "items.jsonl", "\n".join(map(json.dumps, rows)))
    last = Item(item_id="8", language="fr", rating=4.5, attributes={"long": True})
    assert list(read_items(path)) == [HEAT, HEAT, last]


def test_items_of_parquet_take_real_lists_and_gaps(tmp_path):
    path = write_parquet(
        tmp_path, movie=[6, 7], title=["Heat", None], genres=[["Action", "Crime"], None], year=[1995.0, float("nan")]
    )
    assert list(read_items(path, {"item_id": "movie"})) == [HEAT, Item(item_id="7")]


def test_attributes_of_csv_and_parquet_are_dicts(tmp_path):
    path = write(tmp_path, "items.csv", 'item_id,attributes\n6,"{""long"": true}"\n')
    expected = [Item(item_id="6", attributes={"long": True})]
    assert list(read_items(path)) == expected
    pairs = pa.array([[("long", True)]], pa.map_(pa.string(), pa.bool_()))
    assert list(read_items(write_parquet(tmp_path, item_id=["6"], attributes=pairs))) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("6,\"['Crime'\",1995", "wrong_type"),
        ('6,"[1, 2]",1995', "wrong_type"),
        ("6,Crime,soon", "wrong_type"),
        ('6,Crime,"[1994, 1995]"', "wrong_type"),
        (",Crime,1995", "missing_field"),
    ],
)
def test_bad_item_is_named(tmp_path, row, reason):
    path = write(tmp_path, "items.csv", f"item_id,genres,year\n{row}\n")
    items, bad = read_all(path, read=read_items)
    assert items == []
    assert [(fault.line, fault.reason) for fault in bad] == [(2, reason)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(user_id=JSON, item_id=st.text(max_size=5), rating=st.floats() | st.integers(), event_id=st.none() | st.text())
def test_jsonl_is_judged_as_the_worker_judges(tmp_path, user_id, item_id, rating, event_id):
    line = json.dumps({"user_id": user_id, "item_id": item_id, "rating": rating, "event_id": event_id}).encode()
    decoder = RatingDecoder(0.5, 5.0)
    # NaN is how data frames write nothing, so a file's NaN id is a missing one.
    if isinstance(user_id, float) and user_id != user_id:  # noqa: PLR0124
        return
    try:
        expected = [decoder.decode(line)], []
    except EventError as error:
        expected = [], [error.reason]
    events, bad = read_all(write(tmp_path, "data.jsonl", line))
    assert (events, [fault.reason for fault in bad]) == expected
