"""The protocols of `streamrec evaluate` by name."""

from collections.abc import Mapping

from services.lab.evaluation import RunProtocol
from services.lab.held_out import evaluate_held_out

PROTOCOLS: Mapping[str, RunProtocol] = {"held_out": evaluate_held_out}
"""Name to what runs it."""
