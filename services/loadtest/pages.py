"""The page and the picture of a run, of a comparison and of a search for the knee."""

from pathlib import Path
from typing import Any

from services.loadtest.knee import Knee
from services.loadtest.page import Table, write_page
from services.loadtest.panels import Line, Panel, overlaid, panels_of
from services.loadtest.picture import draw_png
from services.loadtest.report import Report

SHARES = ("p50", "p90", "p99", "p999", "max")
_TITLES = ("p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms")
_KINDS = (("rating to visible", "visible", "ratings"), ("request to answer", "answer", "requests"))
_COMPARED = ("offered_ratings_per_s", "achieved_ratings_per_s", "offered_requests_per_s", "achieved_requests_per_s")
SHOWN_IDS = 50
KNEE_HEADER = ("offered/s", "applied/s", "answered/s", "p99 ms", "visible p99 ms", "")
_KNEE_FIGURES = (
    "offered_ratings_per_s",
    "achieved_ratings_per_s",
    "achieved_requests_per_s",
    "p99_ms",
    "visible_p99_ms",
)


def draw_run(report: Report, directory: Path) -> None:
    """Write ``report.html`` and ``report.png``.

    Raises:
        ConfigurationError: plotly or matplotlib is not installed.
    """
    title = f"Load test: {report['load']}, {report['terms']['pace']}"
    details = [_count_table(report), _process_table(report)]
    if report["unanswered"]:
        details.append(_unanswered_table(report))
    panels, tables = panels_of(report), [_latency_table(report)]
    write_page(directory / "report.html", title, _about(report), verdicts_of(report), tables, panels, details)
    draw_png(panels, title, directory / "report.png")


def draw_comparison(names: tuple[str, str], reports: tuple[Report, Report], directory: Path) -> None:
    """Write ``compare.html`` and ``compare.png``.

    Raises:
        ConfigurationError: plotly or matplotlib is not installed.
    """
    title = f"Load tests: {names[0]} and {names[1]}"
    panels = overlaid(*(panels_of(report, f"{name}: ") for name, report in zip(names, reports, strict=True)))
    verdicts = {
        f"{name}: {says}": good
        for name, report in zip(names, reports, strict=True)
        for says, good in verdicts_of(report).items()
    }
    about = " | ".join(f"{name}: {_about(report)}" for name, report in zip(names, reports, strict=True))
    header, rows = ("", *names, "ratio"), comparison_rows(*reports)
    main = [row for row in rows if row[0] in _COMPARED or row[0].endswith("_ms")]
    tables = [Table("Rates and latencies", header, main)]
    details = [Table("All else", header, [row for row in rows if row not in main])]
    write_page(directory / "compare.html", title, about, verdicts, tables, panels, details)
    draw_png(panels, title, directory / "compare.png")


def comparison_rows(first: Report, second: Report) -> list[tuple[str, str, str, str]]:
    """Return the figures that both runs have: name, each, and the second's multiple of the first."""
    one, other = first["figures"], second["figures"]
    latency = [name for name in one if name.endswith("_ms")]
    rows = []
    for name in dict.fromkeys([*_COMPARED, *latency, *one]):
        a, b = one.get(name), other.get(name)
        if name in other and (a is not None or b is not None):
            ratio = f"{b / a:.2f}" if a and b is not None else ""
            rows.append((name, _shown(a), _shown(b), ratio))
    return rows


def draw_knee(points: list[Report], knee: Knee, directory: Path) -> None:
    """Write ``knee.html`` and ``knee.png``: what was achieved, and the latency, by what was offered.

    Raises:
        ConfigurationError: plotly or matplotlib is not installed.
    """
    title = f"Knee: {points[0]['load']}"
    ordered = sorted(points, key=lambda point: point["figures"]["offered_ratings_per_s"])
    offered = [point["figures"]["offered_ratings_per_s"] for point in ordered]

    def line(name: str, figure: str, colour: int, *, is_dashed: bool = False) -> Line:
        return Line(name, offered, [point["figures"][figure] for point in ordered], colour, is_dashed)

    panels = [
        Panel(
            "achieved a second, by ratings offered a second",
            "ratings offered a second",
            [
                line("ratings offered", "offered_ratings_per_s", 0, is_dashed=True),
                line("ratings applied", "achieved_ratings_per_s", 0),
                line("requests offered", "offered_requests_per_s", 1, is_dashed=True),
                line("requests answered", "achieved_requests_per_s", 1),
            ],
            has_points=True,
        ),
        Panel(
            "latency, ms, where it is not saturated",
            "ratings offered a second",
            [
                line("rating to visible, p50", "visible_p50_ms", 0, is_dashed=True),
                line("rating to visible, p99", "visible_p99_ms", 0),
                line("request to answer, p50", "p50_ms", 1, is_dashed=True),
                line("request to answer, p99", "p99_ms", 1),
            ],
            is_log=True,
            has_points=True,
        ),
    ]
    table = Table(
        "Points", ("offered/s", "applied/s", "answered/s", "p99 ms", "visible p99 ms", ""), knee_rows(ordered)
    )
    write_page(directory / "knee.html", title, _about(points[0]), {knee_sentence(knee): None}, [table], panels)
    draw_png(panels, title, directory / "knee.png")


def knee_rows(points: list[Report]) -> list[tuple[str, ...]]:
    """Return what is shown of each point of a search."""
    rows = []
    for point in points:
        figures = point["figures"]
        verdict = f"saturated: {' and '.join(point['saturated'])}" if point["saturated"] else "keeps up"
        rows.append((*(_shown(figures[name]) for name in _KNEE_FIGURES), verdict))
    return rows


def knee_sentence(knee: Knee) -> str:
    """Return what a search found, in words.

    >>> knee_sentence(Knee(1000.0, None))
    'keeps up with 1,000 ratings a second; no rate tried was too much'
    """
    if knee.holds is None:
        return f"every rate tried is too much, the lowest {knee.saturates:,.0f} ratings a second"
    if knee.saturates is None:
        return f"keeps up with {knee.holds:,.0f} ratings a second; no rate tried was too much"
    return f"keeps up with {knee.holds:,.0f} ratings a second, and is saturated at {knee.saturates:,.0f}"


def verdicts_of(report: Report) -> dict[str, bool | None]:
    """Return sentences on a run, and whether each is good; None where it could not be told."""
    right, counts = report["correctness"], report["counts"]
    unanswered = len(report["unanswered"])
    saturated = " and ".join(report["saturated"])
    errors = sum(report["errors"]["answers"].values()) + sum(report["errors"]["sends"].values())
    wrong = len(right["missing_letters"]) + len(right["unexpected_letters"])
    letters = sum(right["letters"].values())
    return {
        f"saturated: {saturated}, so no latency is given"
        if saturated
        else "keeps up with what is offered": not saturated,
        f"{unanswered:,} unanswered": not unanswered,
        f"{errors:,} errors": not errors,
        f"{letters:,} dead letters for {counts['bad_events']:,} bad events": not wrong,
        right["why"]: right["is_right"],
    }


def _about(report: Report) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    where = "embedded" if report["embedded"] else "servers of the settings"
    return f"{report['started']}, {report['seconds']:.1f} s, {where}, {report['cores']} cores; {versions}"


def _latency_table(report: Report) -> Table:
    rows = []
    for title, kind, of in _KINDS:
        found, through = report["latency_ms"][kind], report["throughput"][of]
        latencies = [_shown(found.get(name)) for name in SHARES]
        rows.append((title, _shown(through["offered"]), _shown(through["achieved"]), *latencies))
    title = "From when it was due"
    return Table(title, ("", "offered/s", "achieved/s", *_TITLES), rows)


def _count_table(report: Report) -> Table:
    counts: dict[str, Any] = dict(report["counts"])
    errors = {f"error {name}": count for group in report["errors"].values() for name, count in group.items()}
    letters = {f"dead letter {reason}": count for reason, count in report["correctness"]["letters"].items()}
    rows = [(name.replace("_", " "), _shown(value)) for name, value in (counts | errors | letters).items()]
    return Table("Counts", ("", ""), rows)


def _process_table(report: Report) -> Table:
    figures = report["figures"]
    rows = []
    for name in report["series"]["processes"]:
        own = name.replace(" ", "_")
        rows.append((name, _shown(figures[f"cores_mean.{own}"]), _shown(figures[f"rss_mb_max.{own}"])))
    return Table("Processes", ("", "cores, mean", "MiB, most"), rows)


def _unanswered_table(report: Report) -> Table:
    shown = report["unanswered"][:SHOWN_IDS]
    return Table(f"Without an answer, the first {len(shown)}", ("request",), [(each,) for each in shown])


def _shown(value: Any) -> str:
    """Return a figure as a table has it.

    >>> _shown(1234.5), _shown(0.1234), _shown(7), _shown(None)
    ('1,234', '0.12', '7', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"  # noqa: PLR2004
