"""Claims about a run, such as ``p99_ms<10``: what continuous integration fails by."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(rf"\s*([\w.-]+)\s*({'|'.join(_OPERATORS)})\s*([-+\d.eE]+)\s*")


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure, compared with a number.

    Attributes:
        name: of the figure, as ``report.json`` has it under ``figures``.
        comparison: one of ``< <= > >= == !=``.
        number: what it is compared with.
    """

    name: str
    comparison: str
    number: float

    def __str__(self) -> str:
        """Return it as it was written."""
        return f"{self.name}{self.comparison}{self.number:g}"


def parse_claim(text: str) -> Claim:
    """Return a claim as it is written.

    Raises:
        ValueError: it is no NAME OPERATOR NUMBER.

    >>> parse_claim("p99_ms<10")
    Claim(name='p99_ms', comparison='<', number=10.0)
    """
    found = _FORM.fullmatch(text)
    try:
        return Claim(found[1], found[2], float(found[3])) if found else _refuse(text)
    except ValueError:
        return _refuse(text)


def _refuse(text: str) -> Claim:
    raise ValueError(f"an assertion is NAME, one of {' '.join(_OPERATORS)}, and a number, got {text!r}")


def check_names(claims: Sequence[Claim], names: Sequence[str]) -> None:
    """Refuse claims about figures that there are none of.

    Raises:
        ValueError: with the names there are.
    """
    if unknown := sorted({claim.name for claim in claims} - set(names)):
        raise ValueError(f"there is no figure {', '.join(unknown)}; there are {', '.join(sorted(names))}")


def failures_of(claims: Sequence[Claim], figures: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each claim that does not hold; a figure that a run does not have holds nothing.

    >>> failures_of([parse_claim("p99_ms<10"), parse_claim("unanswered==0")], {"p99_ms": 12.5, "unanswered": 0})
    ['p99_ms<10 is false: it is 12.5']
    """
    check_names(claims, list(figures))
    failures = []
    for claim in claims:
        value = figures[claim.name]
        if value is None:
            why = "the run is saturated" if figures.get("saturated") else "the run has no such figure"
            failures.append(f"{claim} is false: {why}")
        elif not _OPERATORS[claim.comparison](value, claim.number):
            failures.append(f"{claim} is false: it is {value:g}")
    return failures
