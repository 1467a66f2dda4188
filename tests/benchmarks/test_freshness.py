"""How looks at the watermarks become latencies."""

import numpy as np
import pytest

from benchmarks.freshness import Seen, match
from benchmarks.ingest_sides.log import PARTITIONS

NONE = [0] * (PARTITIONS - 2)


def test_a_rating_is_seen_by_the_first_look_whose_watermark_is_behind_it():
    partition = np.array([0, 1, 0, 1])
    offset = np.array([5, 9, 6, 10])
    times = np.array([10.0, 20.0, 30.0])
    marks = np.array([[6, 9, *NONE], [6, 11, *NONE], [7, 11, *NONE]])
    assert match(partition, offset, times, marks).tolist() == [10.0, 20.0, 30.0, 20.0]


def test_a_rating_that_no_look_saw_is_an_error():
    with pytest.raises(IndexError):
        match(np.array([0]), np.array([7]), np.array([10.0]), np.array([[7, 0, *NONE]]))


def test_every_rating_due_after_the_first_second_counts_however_late_it_was_seen():
    run = Seen(due=np.array([1.0, 1.9, 2.0, 3.0]), seen=np.array([90.0, 90.0, 2.5, 50.0]), ended=3.0)
    assert [run.percentile_ms(share) for share in (0, 100)] == [500.0, 47_000.0]


def test_the_rate_is_of_what_was_seen_while_more_was_offered():
    run = Seen(due=np.array([1.0, 1.1, 1.2, 1.3, 1.4]), seen=np.array([1.5, 2.5, 3.0, 4.0, 4.5]), ended=4.0)
    assert run.rate == 3 / 2
