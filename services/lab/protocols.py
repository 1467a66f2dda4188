"""The protocols of `streamrec evaluate` by name."""

from collections.abc import Mapping, Sequence

from services.lab.evaluation import RunProtocol
from services.lab.held_out import evaluate_held_out
from services.lab.next_item_figures import evaluate_next_item

PROTOCOLS: Mapping[str, RunProtocol] = {"held_out": evaluate_held_out, "next_item": evaluate_next_item}
"""Name to what runs it."""

POLICIES_OF: Mapping[str, Sequence[str]] = {
    "held_out": (
        *("random", "item_mean", "greedy", "epsilon_greedy", "ucb", "greedy_compat"),
        *("linear", "linear_linucb", "linear_thompson"),
        *("reinforce", "td3", "td3_nearest", "ddpg", "ddpg_nearest"),
    ),
    "next_item": (
        *("sequence", "reinforce", "td3", "ddpg", "bcq", "qlearning", "sarsa"),
        *("linear", "item_mean", "greedy", "ucb", "greedy_compat"),
    ),
}
"""The policies that each protocol measures when none is named."""

NOT_MEASURED_BY: Mapping[str, frozenset[str]] = {
    "held_out": frozenset({"sequence"}),
    "next_item": frozenset({"random", "random_compat", "linear_thompson", "ddpg_nearest", "td3_nearest"}),
}
"""The policies that a protocol cannot measure: it trains no model for them, or they do not rank by scores."""


def policies_by_protocol(protocols: Sequence[str] | None, policies: Sequence[str] | None) -> dict[str, Sequence[str]]:
    """Return which policies each protocol measures; without a choice every protocol, and each its own.

    >>> policies_by_protocol(None, ["sequence", "random"])
    {'held_out': ['random'], 'next_item': ['sequence']}
    >>> policies_by_protocol(["held_out"], ["sequence"])
    {'held_out': ['sequence']}
    """
    if policies is None:
        return {name: POLICIES_OF[name] for name in protocols or PROTOCOLS}
    if protocols is not None:
        return dict.fromkeys(protocols, policies)
    chosen = {name: [each for each in policies if each not in NOT_MEASURED_BY[name]] for name in PROTOCOLS}
    return {name: own for name, own in chosen.items() if own}
