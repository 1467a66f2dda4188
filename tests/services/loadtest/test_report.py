"""A run in figures: latencies from when something was due, saturation, and every request without an answer."""

import os

import numpy as np
import pytest

from schemas.errors import DataError
from services.loadtest.outcome import find_unproven
from services.loadtest.report import Correctness, figure_names, make_report, read_report, write_report
from services.loadtest.resources import Resources
from tests.services.loadtest.outcomes import ABOUT, outcome_of, plan_of


@pytest.fixture
def plan(tmp_path):
    return plan_of(tmp_path)


def report_of(outcome, correctness=None):
    return make_report(outcome, correctness or Correctness(), ABOUT)


def test_latency_is_from_when_something_was_due_however_late_it_went_out(plan):
    outcome = outcome_of(plan, 0.3)
    outcome.late_s[:] = outcome.request_late_s[:] = 0.25
    report = report_of(outcome)
    assert report["figures"]["p50_ms"] == pytest.approx(300, rel=2e-3)
    assert report["figures"]["visible_p50_ms"] == pytest.approx(300, rel=2e-3)
    assert report["counts"]["sent_late_ms_max"] == pytest.approx(250)


def test_what_is_due_while_warming_up_does_not_count(plan):
    outcome = outcome_of(plan)
    outcome.answered_s[plan.request_due < 1.0] += 9.0
    assert report_of(outcome)["figures"]["max_ms"] == pytest.approx(50, rel=2e-3)


def test_every_request_without_an_answer_is_named(plan):
    outcome = outcome_of(plan)
    probe = int(np.flatnonzero(plan.probed)[0])
    outcome.answered_s[[3, 17]] = np.nan
    outcome.visible_s[probe] = np.nan
    report = report_of(outcome)
    assert report["unanswered"] == ["run-r3", "run-r17", f"run-p{probe}"]
    assert report["figures"]["unanswered"] == 3
    assert report["counts"]["requests_answered"] == 398


def test_a_rating_that_nobody_asked_after_is_not_unanswered(plan):
    assert report_of(outcome_of(plan))["unanswered"] == []


def test_a_run_that_keeps_up_has_latencies(plan):
    report = report_of(outcome_of(plan))
    assert report["saturated"] == []
    assert report["throughput"]["ratings"] == {"offered": 100.0, "achieved": pytest.approx(100.0, abs=0.5)}
    assert report["latency_ms"]["answer"].keys() == {"p50", "p90", "p99", "p999", "max"}


def test_a_run_that_falls_behind_is_saturated_and_has_no_latency(plan):
    outcome = outcome_of(plan, applied_per_s=90.0)
    report = report_of(outcome)
    assert report["saturated"] == ["ratings"]
    assert report["throughput"]["ratings"]["achieved"] == pytest.approx(90.0, abs=0.5)
    assert (report["latency_ms"], report["curves"]) == ({"visible": {}, "answer": {}}, {"visible": [], "answer": []})
    assert report["figures"]["p99_ms"] is None
    assert report["figures"]["saturated"] == 1


def test_answers_that_are_slow_to_show_ratings_do_not_make_their_application_slow(plan):
    outcome = outcome_of(plan)
    outcome.visible_s += 5.0
    report = report_of(outcome)
    assert report["throughput"]["ratings"]["achieved"] == pytest.approx(100.0, abs=0.5)
    assert report["saturated"] == []


def test_an_answer_that_is_an_error_is_counted_by_its_code_and_achieves_nothing(plan):
    outcome = outcome_of(plan)
    outcome.answer_codes = ["overloaded" if number % 20 == 0 else "" for number in range(400)]
    report = report_of(outcome)
    assert report["errors"]["answers"] == {"overloaded": 20}
    assert report["saturated"] == ["requests"]
    assert report["unanswered"] == []
    # Of the hundred due in each second five are errors; what is due in the last 50 ms comes in the next second.
    assert report["series"]["by_second"]["requests_achieved"] == [90, 95, 95, 95]


def test_the_longest_lag_is_found_however_few_looks_are_drawn(plan, monkeypatch):
    monkeypatch.setattr("services.loadtest.report.MOST_POINTS", 10)
    outcome = outcome_of(plan)
    outcome.acknowledged[[101, 203, 307]] += 500
    report = report_of(outcome)
    assert len(report["series"]["lag"]) <= 11
    assert report["figures"]["lag_max"] >= 500


def test_an_answer_that_had_not_seen_the_rating_it_waited_for_is_counted():
    visible_s, partitions, offsets = np.array([0.1, 0.1, np.nan]), np.array([0, 1, 0]), np.array([4, 4, 9])
    applied_to = np.array([[5, 0], [9, 4], [0, 0]])
    assert find_unproven(visible_s, ["", "", ""], partitions, offsets, applied_to) == [1]
    assert find_unproven(visible_s, ["", "internal", ""], partitions, offsets, applied_to) == []


def test_series_count_whole_seconds(plan):
    seconds = report_of(outcome_of(plan))["series"]["by_second"]
    assert seconds["ratings_offered"] == [100] * 4
    assert seconds["requests_achieved"] == [95, 100, 100, 100]  # each 50 ms after it was due
    assert seconds["answer_ms"]["p50"] == pytest.approx([50.0] * 4, rel=2e-3)


def test_a_report_is_read_as_it_was_written_by_folder_or_file(plan, tmp_path):
    report = report_of(outcome_of(plan), Correctness(is_right=True, why="right"))
    path = write_report(report, tmp_path)
    assert read_report(path) == read_report(tmp_path) == report
    assert "NaN" not in path.read_text()


@pytest.mark.parametrize("text", ["", "[]", '{"v": 2}', "{}"])
def test_a_file_that_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(DataError, match="report"):
        read_report(tmp_path)


def test_figures_are_numbers_or_null_and_their_names_are_known_before_the_run(plan):
    outcome = outcome_of(plan)
    outcome.resources = Resources({"answers collector": os.getpid()})
    outcome.resources.sample()
    figures = report_of(outcome)["figures"]
    assert all(value is None or isinstance(value, int | float) for value in figures.values())
    assert sorted(figures) == sorted(figure_names(["answers collector"]))
    assert figures["rss_mb_max.answers_collector"] > 10
