"""What a check found: one line that says what is wrong and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: what was looked at.
        status: ``fail`` where something cannot work, ``warn`` where it may not be meant.
        says: what was found, with the numbers.
        remedy: what to do; empty when nothing is to be done.
    """

    check: str
    status: Status
    says: str
    remedy: str = ""


def has_failed(findings: Iterable[Finding]) -> bool:
    """Return whether any finding is a failure.

    >>> has_failed([Finding("broker", "ok", "answers"), Finding("clock", "warn", "2 s behind")])
    False
    """
    return any(finding.status == "fail" for finding in findings)
