"""``python -m tests.faults`` runs the rows of docs/reliability.md; red when anything is lost or doubled."""

import argparse
import functools
import json
import sys
from pathlib import Path

from tests.faults import report
from tests.faults.mutations import MUTATIONS
from tests.faults.rows import chosen_rows
from tests.faults.suite import jobs_of, kafka_home, mutated_jobs, run_jobs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=_at_least_one, default=30, help="times each row is run, at least 1")
    parser.add_argument("--rows", help="numbers, comma-separated: 1 for all of row 1, 9b for one; all unless given")
    parser.add_argument("--json", type=Path, help="write the results to this file; what is there of other rows stays")
    parser.add_argument("--write", type=Path, help="write the table to this page, from --json where it is given")
    parser.add_argument("--mutations", nargs="?", const=",".join(MUTATIONS), help="take guards out instead, in turn")
    parser.add_argument("--jobs", type=_at_least_one, default=3, help="rows that run at once, each on its own servers")
    options = parser.parse_args()
    say, home = functools.partial(print, flush=True), kafka_home()
    if options.mutations:
        jobs = mutated_jobs(options.mutations.split(","), home)
        found = dict(zip(jobs, run_jobs(jobs, options.seeds, options.jobs, home, say), strict=True))
        merged = report.merge(
            options.json, mutations={f"{job.mutation} {job.broker}": result.as_json() for job, result in found.items()}
        )
        failed = [str(job) for job, result in found.items() if not result.is_promise_broken]
        if left := set(options.mutations.split(",")) - {job.mutation for job in jobs}:
            say(f"not run, as their rows need KAFKA_HOME: {', '.join(sorted(left))}")
        say(f"RED: not seen by the suite: {', '.join(failed)}" if failed else f"all {len(found)} mutations were seen")
    else:
        wanted = chosen_rows(options.rows)
        results = run_jobs(jobs_of(wanted, home), options.seeds, options.jobs, home, say)
        merged = report.merge(options.json, rows={f"{one.number} {one.broker}": one.as_json() for one in results})
        lines, failed = report.verdict(results, wanted, is_named=options.rows is not None)
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
