"""``python -m tests.faults`` runs the rows of docs/reliability.md; red when anything is lost or doubled."""

import argparse
import functools
import json
import sys
from pathlib import Path

from tests.faults import report
from tests.faults.mutations import MUTATIONS
from tests.faults.rows import chosen_rows
from tests.faults.suite import kafka_home, run_lanes, run_mutations


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=_at_least_one, default=30, help="times each row is run, at least 1")
    parser.add_argument("--rows", help="numbers, comma-separated: 1 for all of row 1, 9b for one; all unless given")
    parser.add_argument("--json", type=Path, help="write the results to this file; what is there of other rows stays")
    parser.add_argument("--write", type=Path, help="write the table to this page, from --json where it is given")
    parser.add_argument("--mutations", nargs="?", const=",".join(MUTATIONS), help="take guards out instead, in turn")
    options = parser.parse_args()
    say = functools.partial(print, flush=True)
    if options.mutations:
        found = run_mutations(options.mutations.split(","), options.seeds, kafka_home(), say)
        merged = report.merge(options.json, mutations={name: result.as_json() for name, result in found.items()})
        failed = [name for name, result in found.items() if not result.faults]
        say(f"RED: not seen by the suite: {', '.join(failed)}" if failed else f"all {len(found)} mutations were seen")
    else:
        results = run_lanes(options.rows, options.seeds, kafka_home())
        merged = report.merge(options.json, rows={f"{one.number} {one.broker}": one.as_json() for one in results})
        lines, failed = report.verdict(results, chosen_rows(options.rows), is_named=options.rows is not None)
        say("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps(merged, indent=1) + "\n")
    if options.write:
        report.write(options.write, merged)
    return 1 if failed else 0


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
