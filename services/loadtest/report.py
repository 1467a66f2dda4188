"""A run in figures: what stands in ``report.json``, what assertions can name, and what the page draws."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from recommender.arrays import Floats
from schemas.errors import DataError
from services.loadtest.latency import SHARES, by_second, curve_of, percentiles_ms
from services.loadtest.outcome import Outcome
from services.loadtest.throughput import Throughput, done_times, throughput

Report = dict[str, Any]
REPORT_FILE = "report.json"
_VERDICTS = (
    *("saturated", "unanswered", "errors", "send_errors", "digest_right"),
    *("dead_letters", "missing_letters", "unexpected_letters", "lag_max"),
)
_COUNTS = (
    *("ratings", "ratings_acknowledged", "ratings_applied", "requests", "requests_answered", "probes"),
    *("probes_answered", "unproven", "repeated_answers", "bad_events", "sent_late_ms_max"),
)
VERSION = 1
MOST_POINTS = 1000
"""About so many looks of a long run are kept to be drawn."""


@dataclass(frozen=True, slots=True)
class Correctness:
    """Whether state and dead letters are what was played.

    Attributes:
        is_right: whether both digests are those of the events; None where that could not be compared.
        why: a sentence on the comparison.
        found: digests of the state, and what it counts.
        expected: those of the events that were played.
        letters: dead letters of this run, by reason.
        missing_letters: bad events that are no dead letter with their reason: partition/offset and reason.
        unexpected_letters: dead letters of events that are none of the bad ones, likewise.
    """

    is_right: bool | None = None
    why: str = "not compared"
    found: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)
    letters: dict[str, int] = field(default_factory=dict)
    missing_letters: list[str] = field(default_factory=list)
    unexpected_letters: list[str] = field(default_factory=list)


def make_report(outcome: Outcome, correctness: Correctness, about: Mapping[str, Any]) -> Report:
    """Return the whole report, ready for JSON.

    Args:
        outcome: of the run.
        correctness: of what it left behind.
        about: what else to keep: load, settings, versions.
    """
    plan = outcome.plan
    begin_s, end_s = min(plan.terms.warm_up_s, plan.seconds / 2), plan.seconds
    visible = _without_errors(outcome.visible_s, outcome.visible_codes)
    visible[~outcome.sent_probes] = np.nan
    visible_latency = _counted(visible - plan.due, plan.due, begin_s)
    answered = _without_errors(outcome.answered_s, outcome.answer_codes)
    answer_latency = _counted(answered - plan.request_due, plan.request_due, begin_s)
    done = done_times(outcome.looks_s, outcome.applied, len(plan.due))
    ratings = throughput(plan.due, done, begin_s, end_s, _median(_counted(done - plan.due, plan.due, begin_s)))
    requests = throughput(plan.request_due, answered, begin_s, end_s, _median(answer_latency))
    saturated = [name for name, each in (("ratings", ratings), ("requests", requests)) if each.is_saturated]
    report: Report = {
        "v": VERSION,
        **about,
        "started": datetime.fromtimestamp(outcome.started, UTC).isoformat(timespec="seconds"),
        "run": plan.run,
        "terms": {**asdict(plan.terms), "pace": plan.terms.pace.describe()},
        "seconds": plan.seconds,
        "measured_from_s": begin_s,
        "saturated": saturated,
        "throughput": {"ratings": asdict(ratings), "requests": asdict(requests)},
        "latency_ms": {
            "visible": {} if saturated else percentiles_ms(visible_latency),
            "answer": {} if saturated else percentiles_ms(answer_latency),
        },
        "curves": {
            "visible": [] if saturated else curve_of(visible_latency),
            "answer": [] if saturated else curve_of(answer_latency),
        },
        "counts": _counts(outcome),
        "errors": {
            "answers": dict(Counter(filter(None, [*outcome.visible_codes, *outcome.answer_codes]))),
            "sends": outcome.send_errors,
        },
        "unanswered": outcome.unanswered,
        "correctness": asdict(correctness),
        "series": _series(outcome, done, answered, visible - plan.due),
    }
    report["figures"] = _figures(report, ratings, requests)
    plain: Report = _plain(report)
    return plain


def write_report(report: Report, directory: Path) -> Path:
    """Write ``report.json`` and return its path."""
    path = directory / REPORT_FILE
    path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    return path


def read_report(path: Path) -> Report:
    """Return a report from its file, or from the folder it lies in.

    Raises:
        DataError: there is none, or it is none of ours.
    """
    path = path / REPORT_FILE if path.is_dir() else path
    try:
        report: Report = json.loads(path.read_text())
        if report["v"] != VERSION:
            raise DataError(f"{path} has version {report['v']}, this reads {VERSION}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no report of a load test: {error!r}") from error
    return report


def figure_names(processes: Iterable[str]) -> list[str]:
    """Return the names of the figures that every run with these processes has, for assertions."""
    latencies = [f"{kind}{share}_ms" for kind in ("", "visible_") for share in SHARES]
    rates = [
        f"{name.format(of)}"
        for of in ("ratings", "requests")
        for name in ("offered_{}_per_s", "achieved_{}_per_s", "achieved_{}_share")
    ]
    others = [f"{what}.{_joined(name)}" for name in processes for what in ("rss_mb_max", "cores_mean")]
    return [*latencies, *rates, *_VERDICTS, *_COUNTS, *others]


def _figures(report: Report, ratings: Throughput, requests: Throughput) -> dict[str, Any]:
    """Return the figures that assertions can name; None where a saturated run has no such figure."""
    latency, counts, right = report["latency_ms"], report["counts"], report["correctness"]
    figures: dict[str, Any] = {f"{name}_ms": latency["answer"].get(name) for name in SHARES}
    figures |= {f"visible_{name}_ms": latency["visible"].get(name) for name in SHARES}
    for name, each in (("ratings", ratings), ("requests", requests)):
        figures |= {f"offered_{name}_per_s": each.offered, f"achieved_{name}_per_s": each.achieved}
        figures[f"achieved_{name}_share"] = each.share
    figures |= {
        "saturated": int(bool(report["saturated"])),
        "unanswered": len(report["unanswered"]),
        "errors": sum(report["errors"]["answers"].values()),
        "send_errors": sum(report["errors"]["sends"].values()),
        "digest_right": None if right["is_right"] is None else int(right["is_right"]),
        "dead_letters": sum(right["letters"].values()),
        "missing_letters": len(right["missing_letters"]),
        "unexpected_letters": len(right["unexpected_letters"]),
        "lag_max": report["series"]["lag_max"],
        **counts,
    }
    for name, series in report["series"]["processes"].items():
        busy, rss_mb = (np.array(series[what], dtype=np.float64) for what in ("cores", "rss_mb"))
        own = _joined(name)
        figures[f"rss_mb_max.{own}"] = float(np.nanmax(rss_mb)) if np.isfinite(rss_mb).any() else None
        figures[f"cores_mean.{own}"] = float(np.nanmean(busy)) if np.isfinite(busy).any() else None
    return figures


def _joined(name: str) -> str:
    return name.replace(" ", "_")


def _counts(outcome: Outcome) -> dict[str, Any]:
    late = outcome.late_s[~np.isnan(outcome.late_s)]
    late_requests = outcome.request_late_s[~np.isnan(outcome.request_late_s)]
    return {
        "ratings": len(outcome.plan.due),
        "ratings_acknowledged": int((outcome.offsets >= 0).sum()),
        "ratings_applied": int(outcome.applied[-1]) if len(outcome.applied) else 0,
        "requests": len(outcome.plan.request_due),
        "requests_answered": int((~np.isnan(outcome.answered_s)).sum()),
        "probes": int(outcome.sent_probes.sum()),
        "probes_answered": int((~np.isnan(outcome.visible_s) & outcome.sent_probes).sum()),
        "unproven": len(outcome.unproven),
        "repeated_answers": outcome.repeats,
        "bad_events": len(outcome.plan.load.bad),
        "sent_late_ms_max": 1000 * float(max(late.max(initial=0.0), late_requests.max(initial=0.0))),
    }


def _series(outcome: Outcome, applied_s: Floats, answered_s: Floats, visible: Floats) -> dict[str, Any]:
    """Return what is drawn over time; ``by_second`` counts what was due, and done, in each whole second."""
    plan = outcome.plan
    every = max(1, len(outcome.looks_s) // MOST_POINTS)
    lag = np.maximum(outcome.acknowledged - outcome.applied, 0)
    offered_s, looked_s = int(plan.seconds), int(outcome.looks_s.max(initial=0.0))

    resources = outcome.resources
    return {
        "at_s": outcome.looks_s[::every].tolist(),
        "lag": lag[::every].tolist(),
        "lag_max": int(lag.max(initial=0)),
        "by_second": {
            "ratings_offered": _counts_by_second(plan.due, offered_s),
            "ratings_achieved": _counts_by_second(applied_s, looked_s),
            "requests_offered": _counts_by_second(plan.request_due, offered_s),
            "requests_achieved": _counts_by_second(answered_s, looked_s),
            "visible_ms": by_second(plan.due, visible),
            "answer_ms": by_second(plan.request_due, answered_s - plan.request_due),
        },
        "resources_at_s": list(resources.at_s),
        "processes": {
            name: {"rss_mb": resources.rss_mb[name], "cores": resources.cores[name]} for name in resources.rss_mb
        },
    }


def _counts_by_second(times: Floats, seconds: int) -> list[int]:
    within = times[(times >= 0) & (times < seconds)]
    counts: list[int] = np.bincount(within.astype(np.int64), minlength=seconds).tolist()
    return counts


def _without_errors(done_s: Floats, codes: Sequence[str]) -> Floats:
    """Return when each was done, an error not being done."""
    return np.where(np.array([not code for code in codes], dtype=bool), done_s, np.nan)


def _counted(latency: Floats, due: Floats, begin_s: float) -> Floats:
    return np.where(due >= begin_s, latency, np.nan)


def _median(latencies_s: Floats) -> float:
    known = latencies_s[~np.isnan(latencies_s)]
    return float(np.median(known)) if len(known) else 0.0


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
