"""What the alert rules and the dashboard ask Prometheus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import yaml

OBSERVABILITY = Path(__file__).parents[1] / "deploy/observability"
DASHBOARDS = sorted((OBSERVABILITY / "grafana/dashboards").glob("*.json"))
VARIABLE = re.compile(r"\$__rate_interval")
OF_PROMETHEUS = {"up"}
"""What Prometheus says itself of what it scrapes."""


def alert_rules() -> list[dict]:
    groups = yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    """Every expression of every rule and panel."""
    found = [rule["expr"] for rule in alert_rules()]
    for path in DASHBOARDS:
        panels = json.loads(path.read_text())["panels"]
        found += [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [VARIABLE.sub("1m", expression) for expression in found]


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """The name of each metric in an expression, and the labels that are asked of it.

    >>> selectors('sum by (a) (rate(x_total{b="c"}[5m])) / on (d) group_left (e) (y >= 0)')
    [('x_total', {'b'}), ('y', set())]
    """
    return list(_walk(promql_parser.parse(expression)))


def grouping(expression: str) -> set[str]:
    """The labels that an expression groups or joins by, `le` among them.

    >>> sorted(grouping('sum by (a) (x) / on (d) group_left (e) y'))
    ['a', 'd', 'e']
    """
    lists = re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", expression)
    return {label.strip() for found in lists for label in found.split(",") if label.strip()}


def _walk(node: object) -> Iterator[tuple[str, set[str]]]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name, {matcher.name for matcher in node.matchers.matchers}
        return
    for part in ("lhs", "rhs", "expr", "vector_selector"):
        if (child := getattr(node, part, None)) is not None:
            yield from _walk(child)
    for argument in getattr(node, "args", ()):
        yield from _walk(argument)
