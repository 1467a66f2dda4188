"""`streamrec validate`: files and topics checked before anything is published."""

import json

import pandas as pd
import pytest

from services.admin.bus import open_admin, produce_all

GOOD = {"user_id": "u", "item_id": "i", "rating": 4}
OWN = {"payload": {"user": {"id": "u"}}, "item_id": "i", "stars": 4}
FIELDS = ("--rating-fields", "user_id=payload.user.id,rating=stars")
BAD = {
    "not_json": b"rubbish",
    "missing_field": b"{}",
    "rating_out_of_range": json.dumps(GOOD | {"rating": 9}).encode(),
    "bad_id": json.dumps(GOOD | {"user_id": ""}).encode(),
}


def as_lines(values):
    return b"".join(value + b"\n" for value in values)


def as_value(event):
    return json.dumps(event).encode()


def test_every_bad_line_is_named_with_number_and_reason_and_counted(run, tmp_path):
    lines = [as_value(GOOD), BAD["not_json"], b"", BAD["missing_field"], as_value(GOOD), *[BAD["bad_id"]] * 7]
    (tmp_path / "r.jsonl").write_bytes(as_lines(lines))
    outcome = run("validate", "r.jsonl")
    assert outcome.code == 1
    assert "line 2: not_json: " in outcome.out
    assert "line 4: missing_field: user_id is required" in outcome.out
    assert [f"line {number}: bad_id" in outcome.out for number in range(6, 13)] == [True] * 7
    assert "r.jsonl: 2 of 11 lines are ratings, 9 are not" in outcome.out
    assert outcome.out.index("bad_id", outcome.out.index("why not")) < outcome.out.rindex("not_json")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_good_file_of_each_kind_ends_with_0(run, tmp_path, kind):
    frame = pd.DataFrame([{"who": "u", "item_id": "i", "rating": 4.0}] * 3)
    writers = {"csv": lambda path: frame.to_csv(path, index=False), "parquet": frame.to_parquet}
    write = writers.get(kind, lambda path: frame.to_json(path, orient="records", lines=True))
    write(tmp_path / f"r.{kind}")
    outcome = run("validate", f"r.{kind}", "--columns", "user_id=who")
    assert (outcome.code, outcome.out) == (0, f"r.{kind}: 3 of 3 lines are ratings\n")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_bad_row_of_each_kind_is_named(run, tmp_path, kind):
    frame = pd.DataFrame([GOOD, GOOD | {"rating": 9}])
    (frame.to_parquet if kind == "parquet" else lambda path: frame.to_csv(path, index=False))(tmp_path / f"r.{kind}")
    outcome = run("validate", f"r.{kind}")
    assert outcome.code == 1
    assert f"line {2 if kind == 'parquet' else 3}: rating_out_of_range: rating must be in [0.5, 5.0]" in outcome.out


def test_lines_of_your_own_producer_are_read_by_its_fields(run, tmp_path):
    (tmp_path / "r.jsonl").write_bytes(as_lines([as_value(OWN), as_value(GOOD)]))
    outcome = run("validate", "r.jsonl", *FIELDS)
    assert outcome.code == 1
    assert outcome.out.startswith("line 2: missing_field: user_id is required")
    assert "1 of 2 lines are ratings" in outcome.out


def test_byte_order_mark_and_carriage_returns_are_not_part_of_a_line(run, tmp_path):
    (tmp_path / "r.jsonl").write_bytes(b"\xef\xbb\xbf" + as_value(OWN) + b"\r\n" + as_value(OWN))
    assert run("validate", "r.jsonl", *FIELDS).code == 0


@pytest.mark.parametrize(
    ("tokens", "code", "word"),
    [
        ((), 2, "a FILE or --topic"),
        (("r.jsonl", "--topic", "t"), 2, "a FILE or --topic"),
        (("r.jsonl", "--columns", "user=x"), 2, "columns must be of"),
        (("r.jsonl",), 1, "is not a file"),
        (("r.jsonl", *FIELDS), 1, "is not a file"),
        (("r.xml",), 1, "must end in"),
        (("--topic", "t", "--columns", "user_id=x"), 2, "--columns is for files"),
        (("r.jsonl", "--rating-fields", "user=x"), 2, "NAME=PATH"),
    ],
)
def test_what_cannot_be_checked_is_said(run, tokens, code, word):
    outcome = run("validate", *tokens)
    assert outcome.code == code
    assert word in outcome.err.replace("\n", " ")


@pytest.mark.integration
def test_topic_is_sampled_without_a_group(run, topics):
    name = topics.topic("ratings")
    values = [as_value(GOOD)] * 20 + list(BAD.values())
    produce_all(topics, name, [(b"k", value) for value in values])
    whole = run("validate", "--topic", name, settings=topics)
    assert whole.code == 1
    assert f"the newest records of {name}: 20 of 24 records are ratings, 4 are not" in whole.out
    assert "offset 20: not_json: " in whole.out
    newest = run("validate", "--topic", name, "--sample", "6", settings=topics)
    assert "2 of 6 records are ratings" in newest.out
    with open_admin(topics) as admin:
        groups = {group["group_id"] for group in admin.list_groups()}
    assert not any(topics.namespace in group for group in groups)


@pytest.mark.integration
def test_topic_of_your_own_events_maps_by_its_fields(run, topics):
    name = topics.topic("ratings")
    produce_all(topics, name, [(b"k", as_value(OWN))] * 3)
    assert run("validate", "--topic", name, settings=topics).code == 1
    mapped = run("validate", "--topic", name, *FIELDS, settings=topics)
    assert (mapped.code, mapped.out) == (0, f"the newest records of {name}: 3 of 3 records are ratings\n")


@pytest.mark.integration
def test_topic_that_does_not_exist_is_said_and_not_made(run, topics):
    for _ in range(2):
        outcome = run("validate", "--topic", f"{topics.topic_prefix}none", settings=topics)
        assert outcome.code == 2
        assert "does not exist" in outcome.err


@pytest.mark.parametrize("tokens", [("rate", "u", "i", "4"), ("replay", "ratings", "synthetic")])
def test_commands_that_write_the_contracts_form_refuse_a_topic_of_your_own_events(run, tokens):
    outcome = run(*tokens, *FIELDS)
    assert outcome.code == 2
    assert "let your own producer write" in outcome.err.replace("\n", " ")
