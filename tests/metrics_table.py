"""The table of metrics in docs/observability.md, from the code and from the page."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase

from services.scorer import metrics as of_scorer
from streams import metrics as of_both
from streams.worker import metrics as of_worker

PAGE = Path(__file__).parents[1] / "docs/observability.md"
_PROCESSES = {"both": of_both, "worker": of_worker, "scorer": of_scorer}


def metrics_table() -> str:
    lines = ["| metric | kind | labels | process | what it says |", "| --- | --- | --- | --- | --- |"]
    for process, module in _PROCESSES.items():
        for name, kind, labels, says in _metrics_of(module):
            shown = ", ".join(f"`{label}`" for label in labels)
            lines.append(f"| `{name}` | {kind} | {shown} | {process} | {says} |")
    return "\n".join(lines)


def documented_metrics() -> dict[str, str]:
    """Return the process of each metric that the page names."""
    rows = re.findall(r"^\| `(streamrec_\w+)` \| \w+ \| [^|]* \| (\w+) \|", PAGE.read_text(), flags=re.MULTILINE)
    return dict(rows)


def _metrics_of(module: ModuleType) -> Iterator[tuple[str, str, list[str], str]]:
    for value in vars(module).values():
        if isinstance(value, MetricWrapperBase):
            (family,) = value.describe()
            name = family.name + ("_total" if family.type == "counter" else "")
            yield name, family.type, list(value._labelnames), family.documentation
    if module is of_scorer:
        (family,) = of_scorer.STATE_AGES.collect()
        yield family.name, family.type, list(family._labelnames), family.documentation
