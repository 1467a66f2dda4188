import math
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from streams.worker.progress import Progress

PARTITION = 9_001
"""No other test has it, so its numbers are this one's."""


@pytest.fixture
def clock():
    return SimpleNamespace(now_s=100.0)


@pytest.fixture
def log():
    log = SimpleNamespace(partition=PARTITION, watermark=None, moved_s=100.0, end=None)
    log.known_end = lambda: log.end
    return log


@pytest.fixture
def progress(clock, log):
    progress = Progress(10.0, lambda: clock.now_s)
    progress.add(log)
    yield progress
    progress.drop(PARTITION)


def number(name):
    return REGISTRY.get_sample_value(f"streamrec_{name}", {"partition": str(PARTITION)})


def test_lag_is_unknown_until_watermark_and_end_are_known(progress, log):
    assert math.isnan(number("ratings_lag"))
    log.watermark = 4
    assert (math.isnan(number("ratings_lag")), number("ratings_next_offset")) == (True, 4)
    log.end = 10
    assert number("ratings_lag") == 6


def test_an_end_that_was_seen_before_the_watermark_passed_it_is_no_lag(progress, log):
    log.watermark, log.end = 12, 10
    assert number("ratings_lag") == 0


def test_a_partition_that_moves_is_never_stalled_however_far_behind(progress, log, clock):
    log.watermark, log.end = 1, 1_000_000
    clock.now_s, log.moved_s = 200.0, 195.0
    assert progress.faults() == []
    assert number("watermark_age_seconds") == 5


def test_a_partition_that_neither_moves_nor_is_found_at_its_end_is_stalled(progress, log, clock):
    log.watermark, log.end = 4, 10
    clock.now_s = 110.0
    assert progress.faults() == []
    clock.now_s = 112.5
    (fault,) = progress.faults()
    assert fault.startswith(f"partition {PARTITION} is stalled: watermark 4, 6 records behind the end last seen, ")
    assert fault.endswith(" for 12.5 s")


def test_a_partition_that_was_revoked_is_no_fault_and_has_no_numbers(progress, clock):
    clock.now_s = 200.0
    assert progress.faults()
    progress.drop(PARTITION)
    assert progress.faults() == []
    assert number("ratings_lag") is number("watermark_age_seconds") is None
