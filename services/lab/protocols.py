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
    ),
    "next_item": (
        *("sequence", "reinforce", "td3", "ddpg"),
        *("linear", "item_mean", "greedy", "ucb", "greedy_compat"),
    ),
}
"""The policies that each protocol measures when none is named."""
