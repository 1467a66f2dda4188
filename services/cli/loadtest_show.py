"""What ``streamrec loadtest`` says of a run: its figures, and what came out wrong."""

from collections.abc import Sequence

from schemas.errors import ConfigurationError
from services.cli.show import note, say, show_table
from services.loadtest.assertions import Claim, failures_of
from services.loadtest.report import Report


def show_report(report: Report) -> None:
    """Show the figures of a run."""
    latency, through, counts = report["latency_ms"], report["throughput"], report["counts"]
    rows = []
    for title, kind, of in (("rating to visible", "visible", "ratings"), ("request to answer", "answer", "requests")):
        found = latency[kind]
        shown = [f"{found[name]:.1f}" if name in found else "-" for name in ("p50", "p90", "p99", "p999", "max")]
        rate = through[of]
        rows.append((title, f"{rate['offered']:,.0f}", f"{rate['achieved']:,.0f}", *shown))
    show_table(
        f"{report['load']}, {report['terms']['pace']}, {report['seconds']:.1f} s",
        ("", "offered/s", "achieved/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"),
        rows,
    )
    if report["saturated"]:
        say(f"saturated: under 99 % of the {' and '.join(report['saturated'])} on offer, so there is no latency")
    say(
        f"{counts['requests_answered']:,} of {counts['requests']:,} requests and {counts['probes_answered']:,} of "
        f"{counts['probes']:,} that wait for a rating answered; errors: {_listed(report['errors']['answers'])}"
    )
    right = report["correctness"]
    say(f"{counts['bad_events']:,} bad events, dead letters: {_listed(right['letters'])}")
    say(right["why"])


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def verdict(report: Report, claims: Sequence[Claim]) -> int:
    """Say what came out wrong, and return the exit code."""
    right, counts = report["correctness"], report["counts"]
    faults = []
    if report["unanswered"]:
        shown = ", ".join(report["unanswered"][:5])
        faults.append(f"{len(report['unanswered']):,} requests have no answer: {shown}, ... (all in report.json)")
    if right["is_right"] is False:
        faults.append(right["why"])
    if counts["unproven"]:
        faults.append(f"{counts['unproven']:,} answers had not seen the rating that their request waited for")
    faults += [
        f"{len(right[f'{name}_letters']):,} {name} dead letters, the first: {right[f'{name}_letters'][0]}"
        for name in ("missing", "unexpected")
        if right[f"{name}_letters"]
    ]
    if report["errors"]["sends"]:
        faults.append(f"records that the broker did not take: {_listed(report['errors']['sends'])}")
    try:
        faults += failures_of(claims, report["figures"])
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    for fault in faults:
        note(f"wrong: {fault}")
    return int(bool(faults))
