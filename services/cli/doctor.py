"""``streamrec doctor``."""

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from services.admin.doctor import examine
from services.admin.findings import has_failed
from services.cli.flags import SettingsArgument
from services.cli.show import show_findings, write_bytes


def doctor(
    *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False, settings: SettingsArgument
) -> int:
    """Check broker, topics, store, catalogue, embeddings, torch, clock and state; 1 when something cannot work.

    Args:
        as_json: one JSON list instead of a table.
        settings: from flags, environment and files.
    """
    findings = examine(settings)
    if as_json:
        write_bytes(json.dumps([asdict(finding) for finding in findings]).encode())
    else:
        show_findings("doctor", findings)
    return int(has_failed(findings))
