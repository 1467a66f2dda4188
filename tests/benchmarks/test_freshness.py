"""How looks at the watermarks become latencies."""

import numpy as np

from benchmarks.freshness import match
from benchmarks.ingest_sides.log import PARTITIONS

NONE = [0] * (PARTITIONS - 2)


def test_a_rating_is_seen_by_the_first_look_whose_watermark_is_behind_it():
    due = np.array([1.0, 2.0, 3.0, 4.0])
    partition = np.array([0, 1, 0, 1])
    offset = np.array([5, 9, 6, 10])
    times = np.array([10.0, 20.0, 30.0])
    marks = np.array([[6, 9, *NONE], [6, 11, *NONE], [7, 11, *NONE]])
    seen = match(due, partition, offset, times, marks)
    assert seen.seen.tolist() == [10.0, 20.0, 30.0, 20.0]
    assert seen.percentile_ms(100) == 27_000.0
    assert seen.rate == 4 / 29
