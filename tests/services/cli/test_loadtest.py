"""``streamrec loadtest``: everything embedded, generated load, and what is said when something came out wrong."""

import json
from dataclasses import replace

import pytest

from schemas.codec import encode
from schemas.errors import ConfigurationError
from schemas.events import RatingEvent
from services.cli.loadtest_checks import Played, check_run
from services.cli.loadtest_run import make_terms, parse_watch
from services.cli.loadtest_show import verdict
from services.cli.loadtest_stage import Asked, prepared
from services.loadtest.assertions import Claim, parse_claim
from services.loadtest.knee import Knee
from services.loadtest.plan import Terms
from services.loadtest.report import Correctness, make_report, read_report, write_report
from services.loadtest.schedule import Pace
from streams.settings import Settings
from tests.services.loadtest.outcomes import ABOUT, outcome_of, plan_of


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A small run on an embedded system: the stage it was run on, what became of it, and its report."""
    out = tmp_path_factory.mktemp("loadtest")
    terms = Terms(Pace(rate=150.0), probe_share=0.2, warm_up_s=0.5)
    asked = Asked("synthetic:50,100,500", None, None, terms, out, True, [], None, {})
    values = {"namespace": "loadtest", "session_timeout_s": 1.5, "rebalance_timeout_s": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        with prepared(asked, Settings(**values)) as stage:
            outcome = stage.run(stage.load, terms)
            yield stage, outcome, stage.report(outcome)


@pytest.mark.integration
def test_a_generated_load_leaves_the_right_state_and_no_request_unanswered(embedded):
    _, outcome, report = embedded
    assert report["correctness"]["is_right"] is True, report["correctness"]["why"]
    assert report["correctness"]["expected"]["events"] == 495
    assert (report["unanswered"], report["errors"]["answers"], outcome.unproven) == ([], {}, [])
    assert sum(report["correctness"]["letters"].values()) == len(outcome.plan.load.bad) == 5
    assert report["counts"]["requests_answered"] == 500
    assert report["counts"]["probes_answered"] == report["counts"]["probes"] > 50
    assert set(report["series"]["processes"]) > {"broker", "store", "worker", "scorer", "answers collector"}
    assert verdict(report, [parse_claim("unanswered==0"), parse_claim("digest_right==1")]) == 0


@pytest.mark.integration
def test_a_claim_about_a_figure_that_there_will_be_none_of_is_refused_before_the_run(embedded):
    stage, _, report = embedded
    stage.refuse_unknown([Claim(name, "<", 1.0) for name in report["figures"]])
    with pytest.raises(ConfigurationError, match=r"no figure cores_mean.wirker; there are .*cores_mean.worker"):
        stage.refuse_unknown([Claim("cores_mean.wirker", "<", 1.0)])


@pytest.mark.integration
def test_an_event_that_was_changed_on_the_way_is_told_by_the_digest(embedded):
    stage, outcome, _ = embedded
    load = outcome.plan.load
    number = next(number for number in range(len(load)) if number not in load.bad)
    values = list(load.values)
    values[number] = encode(RatingEvent(user_id=load.keys[number].decode(), item_id="i0", rating=0.5))
    changed = replace(outcome, plan=replace(outcome.plan, load=replace(load, values=values)))
    found = check_run(stage.system.settings, changed, Played())
    assert found.is_right is False
    assert "does NOT equal the events: it has 495 ratings" in found.why
    assert verdict(make_report(outcome, found, ABOUT), []) == 1


@pytest.mark.integration
def test_dead_letters_are_compared_place_by_place_and_reason_by_reason(embedded, capsys):
    stage, outcome, _ = embedded
    load = outcome.plan.load
    (bad, reason), *others = load.bad.items()
    wrong = replace(load, bad={bad: "too_large" if reason != "too_large" else "bad_id", **dict(others)})
    changed = replace(outcome, plan=replace(outcome.plan, load=wrong))
    found = check_run(stage.system.settings, changed, Played())
    place = f"{outcome.partitions[bad]}/{outcome.offsets[bad]}"
    assert found.missing_letters == [f"{place} {wrong.bad[bad]}"]
    assert found.unexpected_letters == [f"{place} {reason}"]
    assert verdict(make_report(outcome, found, ABOUT), []) == 1
    assert f"1 unexpected dead letters, the first: {place} {reason}" in capsys.readouterr().err


@pytest.mark.integration
def test_the_servers_of_the_settings_are_put_under_load_and_their_processes_watched(embedded, run, tmp_path):
    stage, _, _ = embedded
    flags = ("--replay", "synthetic:9,20,60", "--rate", "60", "--requests-per-rating", "0.5", "--warm-up", "0")
    watched = ("--watch", f"their-worker={stage.system.pids['worker']}", "--assert", "cores_mean.their-worker>=0")
    done = run("loadtest", *flags, *watched, "--out", "there", settings=stage.system.settings)
    assert done.code == 0, done.err
    assert "not compared: the log had records before the run" in done.out
    report = read_report(tmp_path / "there")
    assert (report["counts"]["ratings_applied"], report["counts"]["requests_answered"]) == (60, 30)
    assert report["figures"]["rss_mb_max.their-worker"] > 50
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"report.json", "report.html", "report.png"}


@pytest.mark.integration
def test_a_search_plays_each_part_of_a_load_after_the_one_before(embedded, run, tmp_path, monkeypatch):
    stage, _, _ = embedded
    rates = []

    def two_points(is_saturated, start):
        rates.extend([start, 2 * start])
        for rate in rates:
            is_saturated(rate)
        return Knee(rates[0], None)

    monkeypatch.setattr("services.cli.loadtest_run.find_knee", two_points)
    monkeypatch.setattr("services.loadtest.throughput.LEAST_SHARE", 0.5)  # so short a point knows no better
    flags = ("--replay", "synthetic:9,20,60", "--find-knee", "--rate", "40", "--duration", "1", "--warm-up", "0")
    done = run("loadtest", *flags, "--out", "knee", settings=stage.system.settings)
    assert "keeps up with 40 ratings a second" in done.out, done.err
    points = json.loads((tmp_path / "knee" / "knee.json").read_text())["points"]
    assert [point["counts"]["ratings"] for point in points] == [40, 80]  # more than the load has: it begins anew
    assert all(point["counts"]["ratings_applied"] == point["counts"]["ratings"] for point in points)


@pytest.mark.integration
def test_a_state_that_was_not_empty_is_not_compared(embedded):
    stage, outcome, _ = embedded
    found = check_run(stage.system.settings, replace(outcome, begin={0: 3}), Played())
    assert (found.is_right, found.why) == (None, "not compared: the log had records before the run")


def test_a_request_without_an_answer_makes_the_exit_code_1_and_is_named(tmp_path, capsys):
    outcome = outcome_of(plan_of(tmp_path))
    assert verdict(make_report(outcome, Correctness(), ABOUT), []) == 0
    outcome.answered_s[9] = float("nan")
    assert verdict(make_report(outcome, Correctness(), ABOUT), []) == 1
    assert "1 requests have no answer: run-r9" in capsys.readouterr().err


def test_reports_are_compared_without_any_server(run, tmp_path):
    for name, latency_s in (("a", 0.05), ("b", 0.1)):
        (tmp_path / name).mkdir()
        write_report(make_report(outcome_of(plan_of(tmp_path), latency_s), Correctness(), ABOUT), tmp_path / name)
    done = run("loadtest", "--compare", "a", "b", "--out", "both")
    assert done.code == 0, done.err
    row = next(line for line in done.out.splitlines() if " p99_ms " in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")][1:] == ["50.0", "100.0", "2.00"]
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"compare.html", "compare.png"}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "--replay"),
        (("--replay", "synthetic:1,2", "--rate", "1"), "USERS,ITEMS,EVENTS"),
        (("--replay", "synthetic:1,2,3"), "one of rate, speed and ramp"),
        (("--replay", "synthetic:1,2,3", "--ramp", "1:2"), "needs --duration"),
        (("--replay", "synthetic:1,2,3", "--ramp", "1", "--duration", "2"), "a ramp is A:B"),
        (("--replay", "synthetic:1,2,3", "--rate", "1", "--assert", "p99"), "an assertion is NAME"),
        (("--replay", "synthetic:1,2,3", "--rate", "1", "--watch", "worker"), "NAME=PID"),
        (("--replay", "synthetic:1,2,3", "--speed", "1", "--find-knee"), "chooses the rate itself"),
        (("--replay", "synthetic:1,2,3", "--find-knee", "--assert", "errors==0"), "--assert is about one run"),
        (("--compare", "nowhere", "neither"), "is no report of a load test"),
    ],
)
def test_flags_that_contradict_one_another_are_refused(run, flags, says):
    done = run("loadtest", *flags)
    assert done.code in {1, 2}
    assert says in done.err


def test_a_claim_about_an_unknown_figure_lists_those_there_are(tmp_path):
    report = make_report(outcome_of(plan_of(tmp_path)), Correctness(), ABOUT)
    with pytest.raises(ConfigurationError, match=r"no figure p98_ms; there are .*p99_ms"):
        verdict(report, [parse_claim("p98_ms<1")])


def test_terms_say_what_flags_say():
    others = {"duration_s": None, "per_rating": 2.0}
    terms = make_terms(rate=None, speed=None, ramp=None, find_knee=True, **others)
    assert (terms.pace.rate, terms.duration_s, terms.per_rating) == (250.0, 6.0, 2.0)
    assert parse_watch(["a=1", "b=22"]) == {"a": 1, "b": 22}
