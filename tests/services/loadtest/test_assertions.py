"""Claims about figures, true and false and about nothing."""

import pytest

from services.loadtest.assertions import Claim, failures_of, parse_claim

FIGURES = {
    "p99_ms": 9.5,
    "unanswered": 0,
    "saturated": 0,
    "digest_right": 1,
    "rss_mb_max.worker": 120.0,
    "max_ms": None,
}


@pytest.mark.parametrize("text", ["p99_ms<10", "p99_ms <= 9.5", "unanswered==0", "rss_mb_max.worker<2e2", "p99_ms!=1"])
def test_a_claim_that_holds_is_no_failure(text):
    assert failures_of([parse_claim(text)], FIGURES) == []


@pytest.mark.parametrize("text", ["p99_ms<9.5", "p99_ms>10", "unanswered>=1", "digest_right==0", "unanswered!=0"])
def test_a_claim_that_does_not_hold_is_named_with_the_figure(text):
    (failure,) = failures_of([parse_claim(text)], FIGURES)
    assert text in failure
    assert "is false: it is" in failure


def test_a_figure_that_the_run_does_not_have_holds_nothing():
    claim = parse_claim("max_ms<1000")
    assert failures_of([claim], FIGURES) == ["max_ms<1000 is false: the run has no such figure"]
    assert "saturated" in failures_of([claim], FIGURES | {"saturated": 1})[0]


def test_an_unknown_figure_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no figure p98_ms; there are digest_right, max_ms, p99_ms"):
        failures_of([Claim("p98_ms", "<", 1.0)], FIGURES)


@pytest.mark.parametrize("text", ["", "p99_ms", "p99_ms=3", "p99_ms<", "<3", "p99_ms<ten", "p99_ms<1e"])
def test_what_is_no_claim_is_refused(text):
    with pytest.raises(ValueError, match="an assertion is NAME"):
        parse_claim(text)
