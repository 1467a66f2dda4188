"""Pages and pictures: what stands on them, and that they need no network."""

import re
import struct

import pytest

from services.loadtest.knee import Knee
from services.loadtest.pages import comparison_rows, draw_comparison, draw_knee, draw_run, knee_sentence, verdicts_of
from services.loadtest.panels import overlaid, panels_of
from services.loadtest.report import Correctness, make_report
from tests.services.loadtest.outcomes import ABOUT, outcome_of, plan_of


@pytest.fixture
def reports(tmp_path):
    plan = plan_of(tmp_path)
    right = Correctness(is_right=True, why="the state is right")
    slow = outcome_of(plan, 0.2, applied_per_s=80.0)
    slow.answered_s[0] = float("nan")
    wrong = Correctness(is_right=False, why="the state is <wrong>", unexpected_letters=["0/3 not_json"])
    return make_report(outcome_of(plan), right, ABOUT), make_report(slow, wrong, ABOUT)


def size_of(path):
    """Width and height of a PNG, from its header."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_the_page_of_a_run_has_its_figures_and_needs_no_network(reports, tmp_path):
    draw_run(reports[0], tmp_path)
    page = without_scripts((tmp_path / "report.html").read_text())
    for text in ("made by hand", "100 ratings a second", "request to answer", "0 unanswered", "the state is right"):
        assert text in page
    assert not re.findall(r"(?:src|href)=", page)
    assert page.count('class="plotly-graph-div"') == 6
    assert min(size_of(tmp_path / "report.png")) > 1000


def test_the_page_of_a_bad_run_says_what_is_wrong_and_which_requests_have_no_answer(reports, tmp_path):
    draw_run(reports[1], tmp_path)
    page = without_scripts((tmp_path / "report.html").read_text())
    bad = re.findall(r'class="verdict bad">([^<]*)<', page)
    assert bad == [
        "saturated: ratings, so no latency is given",
        "1 unanswered",
        "0 dead letters for 0 bad events",
        "the state is &lt;wrong&gt;",
    ]
    assert "run-r0" in page


def test_a_comparison_has_the_figures_of_both_and_their_ratio(reports, tmp_path):
    rows = {row[0]: row[1:] for row in comparison_rows(*reports)}
    assert rows["achieved_ratings_per_s"][2] == "0.80"
    assert rows["p50_ms"][1:] == ("-", "")
    draw_comparison(("one", "two"), reports, tmp_path)
    assert "one: the state is right" in (tmp_path / "compare.html").read_text()
    assert min(size_of(tmp_path / "compare.png")) > 1000


def test_the_lines_of_two_runs_have_names_and_colours_of_their_own(reports):
    panels = overlaid(panels_of(reports[0], "a: "), panels_of(reports[1], "b: "))
    for panel in panels:
        named = [line.name for line in panel.lines]
        assert len(named) == len(set(named))
    lag = panels[3].lines
    assert [(line.name, line.colour) for line in lag] == [("a: lag", 0), ("b: lag", 1)]


def test_a_search_is_drawn_by_what_was_offered(reports, tmp_path):
    draw_knee(list(reports), Knee(100.0, 110.0), tmp_path)
    page = without_scripts((tmp_path / "knee.html").read_text())
    assert "keeps up with 100 ratings a second, and is saturated at 110" in page
    assert "saturated: ratings" in page
    assert "every rate tried" in knee_sentence(Knee(None, 5.0))


def test_what_could_not_be_compared_is_neither_good_nor_bad(reports):
    reports[0]["correctness"] |= {"is_right": None, "why": "not compared"}
    assert verdicts_of(reports[0])["not compared"] is None
