"""Moments of the log."""

from types import SimpleNamespace

import pytest

from schemas.errors import ConfigurationError
from services.admin.until import Until, parse_until


def test_offset_is_among_the_records_of_its_moment():
    assert parse_until("88").ends([0, 1]) == {0: 89, 1: 89}


def test_offset_of_one_partition_leaves_the_others_out():
    assert parse_until("1:88").ends([0, 1]) == {0: 0, 1: 89}


def test_record_at_a_time_itself_is_not_before_it():
    until = parse_until("1970-01-01T00:00:01+00:00")
    assert until.ends([0]) == {}
    assert [until.includes(SimpleNamespace(timestamp=ms)) for ms in (999, 1000)] == [True, False]


def test_time_without_a_zone_is_utc_and_one_with_a_zone_is_not():
    assert parse_until("2026-01-31T12:00") == parse_until("2026-01-31T14:00+02:00") != parse_until("2026-01-31T14:00")


@pytest.mark.parametrize("text", ["", "soon", "-1", "1:", ":1", "1:x", "1.5"])
def test_text_that_names_no_moment_is_refused_with_what_it_was(text):
    with pytest.raises(ValueError, match=r"OFFSET, PARTITION:OFFSET or a time as"):
        parse_until(text)


def test_partition_that_the_log_has_not_is_refused():
    Until(offset=1, partition=3).check(range(4))
    with pytest.raises(ConfigurationError, match=r"partition must be in 0..3, got 4"):
        Until(offset=1, partition=4).check(range(4))
