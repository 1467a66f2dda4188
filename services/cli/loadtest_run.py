"""The runs of ``streamrec loadtest``."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from services.cli.loadtest_again import keep_record, refuse_begun
from services.cli.loadtest_show import show_report, verdict
from services.cli.loadtest_stage import Asked, make_folder, prepared
from services.cli.show import say, show_table
from services.loadtest.assertions import Claim, parse_claim
from services.loadtest.knee import find_knee
from services.loadtest.pages import (
    KNEE_HEADER,
    comparison_rows,
    draw_comparison,
    draw_knee,
    draw_run,
    knee_rows,
    knee_sentence,
)
from services.loadtest.plan import Terms
from services.loadtest.record import refuse_occupied
from services.loadtest.report import Report, read_report, write_report
from services.loadtest.schedule import Pace
from streams.settings import Settings

FIRST_KNEE_RATE = 250.0
KNEE_POINT_S = 6.0
_KEPT_OF_POINT = ("run", "started", "seconds", "saturated", "throughput", "latency_ms", "counts", "errors", "figures")

__all__ = ["Asked", "compare_reports", "find_the_knee", "make_terms", "measure", "parse_claims", "parse_watch"]


def make_terms(*, rate: float | None, speed: float | None, ramp: str | None, find_knee: bool, **others: Any) -> Terms:
    """Return the terms that flags say.

    Raises:
        ValueError: flags contradict one another.
    """
    ends = None
    if ramp is not None:
        first, _, last = ramp.partition(":")
        try:
            ends = (float(first), float(last))
        except ValueError:
            raise ValueError(f"a ramp is A:B with two rates, got {ramp!r}") from None
        if others["duration_s"] is None:
            raise ValueError("--ramp needs --duration")
    if find_knee:
        if speed is not None or ends is not None:
            raise ValueError("--find-knee chooses the rate itself, from --rate on")
        rate = rate or FIRST_KNEE_RATE
        others["duration_s"] = others["duration_s"] or KNEE_POINT_S
    return Terms(Pace(rate, speed, ends), **others)


def parse_watch(texts: Sequence[str]) -> dict[str, int]:
    """Return process ids by name.

    Raises:
        ValueError: a text is no NAME=PID.

    >>> parse_watch(["worker=12"])
    {'worker': 12}
    """
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, _, pid in pairs if not name or not pid.isdecimal()]:
        raise ValueError(f"--watch is NAME=PID, got {', '.join(wrong)}")
    return {name: int(pid) for name, _, pid in pairs}


def parse_claims(texts: Sequence[str]) -> list[Claim]:
    """Return the claims of ``--assert``."""
    return [parse_claim(text) for text in texts]


def measure(asked: Asked, settings: Settings) -> int:
    """Run once, write the report and return the exit code."""
    if asked.record is not None:
        refuse_occupied(asked.record)
    with prepared(asked, settings) as stage:
        stage.refuse_unknown(asked.claims)
        if asked.record is not None:
            refuse_begun(stage.system.settings)
        outcome = stage.run(stage.load, asked.terms, keeps_answers=asked.record is not None)
        report = stage.report(outcome)
        write_report(report, asked.out)
        if asked.record is not None:
            keep_record(asked.record, outcome, stage)
    draw_run(report, asked.out)
    show_report(report)
    say(f"report.json, report.html and report.png in {asked.out}")
    return verdict(report, asked.claims)


def find_the_knee(asked: Asked, settings: Settings) -> int:
    """Search for saturation, write the points and return the exit code.

    Each point plays the next part of the load, which begins anew where it ends, onto the same system. A machine may
    pause: a saturated point is measured once more, and counts when it is saturated again.
    """
    points: list[Report] = []
    faults = 0
    with prepared(asked, settings, is_knee=True) as stage:
        first = 0

        def is_saturated(rate: float) -> bool:
            return measured(rate) and measured(rate)

        def measured(rate: float) -> bool:
            nonlocal first, faults
            terms = replace(asked.terms, pace=Pace(rate=rate))
            count = int(rate * (terms.duration_s or KNEE_POINT_S)) + 1
            outcome = stage.run(stage.load.turn(first, count), terms)
            first += count
            points.append(stage.report(outcome))
            faults += verdict(points[-1], ())
            say(f"{rate:,.0f} ratings a second: {knee_rows(points[-1:])[0][-1]}")
            return bool(points[-1]["saturated"])

        knee = find_knee(is_saturated, asked.terms.pace.rate or FIRST_KNEE_RATE)
    kept = {**asdict(knee), "points": [{name: point[name] for name in _KEPT_OF_POINT} for point in points]}
    (asked.out / "knee.json").write_text(json.dumps(kept, indent=1) + "\n")
    draw_knee(points, knee, asked.out)
    ordered = sorted(points, key=lambda point: point["figures"]["offered_ratings_per_s"])
    show_table(f"{asked.source}, points of {asked.terms.duration_s:g} s", KNEE_HEADER, knee_rows(ordered))
    say(f"{knee_sentence(knee)}; knee.json, knee.html and knee.png in {asked.out}")
    return int(faults > 0 or knee.holds is None)


def compare_reports(first: Path, second: Path, out: Path) -> int:
    """Draw two runs over one another and show their figures side by side."""
    reports = read_report(first), read_report(second)
    names = (_name_of(first), _name_of(second))
    if names[0] == names[1]:
        names = (str(first), str(second))
    make_folder(out)
    draw_comparison(names, reports, out)
    show_table("Figures", ("", *names, "ratio"), comparison_rows(*reports))
    say(f"compare.html and compare.png in {out}")
    return 0


def _name_of(path: Path) -> str:
    return (path if path.is_dir() else path.parent).resolve().name
