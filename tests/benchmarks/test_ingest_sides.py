"""The small parts of the ingest benchmark that figures depend on."""

import doctest
import json
import time

from kafka.partitioner import murmur2

from benchmarks.ingest_sides import rated
from benchmarks.ingest_sides.log import make_log, partition_of, read_records
from benchmarks.ingest_sides.progress import Progress
from schemas.codec import RatingDecoder


def test_users_lie_where_our_own_producers_put_them():
    keys = [f"u{number}".encode() for number in range(200)]
    assert [partition_of(key, 4) for key in keys] == [(murmur2(key) & 0x7FFFFFFF) % 4 for key in keys]


def test_the_log_has_each_rating_once_and_each_user_in_one_partition(tmp_path):
    make_log(tmp_path / "log.parquet", 500)
    records = read_records(tmp_path / "log.parquet", 4)
    decoder = RatingDecoder(0.5, 5.0)
    users = [{decoder.decode(record.value).user_id for record in own} for own in records]
    assert sum(map(len, records)) == 500
    assert sum(map(len, users)) == len(set().union(*users))
    assert [[record.offset for record in own] for own in records] == [list(range(len(own))) for own in records]


def test_the_first_events_do_not_count_for_the_rate(capsys, monkeypatch):
    ticks = iter([10.0, 12.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    progress = Progress(5)
    for done in (2, 2, 1, 7):
        progress.add(done)
    began, done = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line]
    assert began == {"event": "side.began"}
    assert done == {"event": "side.done", "rate": 1.5, "events": 5}


def test_the_examples_of_the_others_state_give_what_they_say():
    assert doctest.testmod(rated).failed == 0
