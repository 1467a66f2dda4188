"""Two answers to the same request, compared item by item: what was recorded, and what came when it was played again."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from recommender.policies.registry import WITHOUT_STATISTICS
from schemas.events import Recommendation

SAID = ("policy", "policy_version", "model", "seed", "epsilon", "n_candidates", "propensity_kind")
ITEM = ("item_id", "score", "propensity", "explored")
DIFFERENCES_NAMED = 10_000
LINES_SHOWN, LINES_A_REQUEST = 20, 4


@dataclass(frozen=True, slots=True)
class Difference:
    """One value in which two answers differ.

    Attributes:
        request_id: of both.
        user_id: of both.
        slot: 1 for the first item; None for what is said of the answer as a whole.
        what: name of the value.
        recorded: as it was.
        again: as it is.
    """

    request_id: str
    user_id: str
    slot: int | None
    what: str
    recorded: Any
    again: Any

    def __str__(self) -> str:
        at = "" if self.slot is None else f" slot {self.slot}"
        whose = f"request {self.request_id!r} of user {self.user_id!r}{at}"
        return f"{whose}: {self.what} was {self.recorded!r}, is {self.again!r}"


def differences(recorded: Recommendation, again: Recommendation, *, serial: bool = False) -> Iterator[Difference]:
    """Yield every value in which two answers differ; numbers must be equal to the bit.

    Not compared is what no two runs share: times, places in the log, and the explanation, which is made of the rest. In
    a serial play the log must have been applied as far, though its partitions may be others.
    """

    def name(slot: int | None, what: str, was: Any, is_now: Any) -> Iterator[Difference]:
        if was != is_now:
            yield Difference(recorded.request_id, recorded.user_id, slot, what, was, is_now)

    codes = [None if answer.error is None else answer.error.code for answer in (recorded, again)]
    yield from name(None, "error", *codes)
    if codes != [None, None]:
        return
    yield from name(None, "state.t", recorded.state.t, again.state.t)
    if serial:
        events = [sum(answer.state.applied_to.values()) for answer in (recorded, again)]
        yield from name(None, "events applied", *events)
    for what in SAID:
        yield from name(None, what, getattr(recorded, what), getattr(again, what))
    yield from name(None, "number of items", len(recorded.items), len(again.items))
    for slot, (was, is_now) in enumerate(zip(recorded.items, again.items, strict=False), 1):
        for what in ITEM:
            yield from name(slot, what, getattr(was, what), getattr(is_now, what))


def used_statistics(answer: Recommendation) -> bool:
    """Return whether item statistics went into an answer.

    Every answer says in ``state.statistics_to`` up to where they were known, whether they were used or not. The rule
    that scored says which: the policy's, or that of the fallback which its items name. A policy that is not known here
    counts as one that uses them.
    """
    if not answer.items:
        return False
    made_by = answer.items[0].parts.get("fallback", answer.policy)
    return made_by not in WITHOUT_STATISTICS


@dataclass(slots=True)
class Comparison:
    """What a second play of a run amounts to.

    Attributes:
        serial: whether nothing else was under way when a request was answered.
        answers: answers of the record, repeats left out.
        compared: those that were compared.
        differing: those of them that differ.
        differences: by what differs, in how many values.
        named: the first 10,000 differences.
        not_compared: requests, by why.
        unanswered: requests of the second play without an answer.
        seconds: the second play took.
    """

    serial: bool
    answers: int = 0
    compared: int = 0
    differing: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    named: list[Difference] = field(default_factory=list)
    not_compared: dict[str, list[str]] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_same(self) -> bool:
        """Whether every answer compared is the same, and any was."""
        return self.compared > 0 and not self.differing and not self.unanswered

    def leave_out(self, why: str, request_id: str) -> None:
        """Note a request that is not compared."""
        self.not_compared.setdefault(why, []).append(request_id)

    def compare(self, recorded: Recommendation, again: Recommendation) -> None:
        """Take in two answers to one request."""
        found = list(differences(recorded, again, serial=self.serial))
        self.compared += 1
        self.differing += bool(found)
        self.differences.update(difference.what for difference in found)
        self.named += found[: max(0, DIFFERENCES_NAMED - len(self.named))]

    def as_json(self) -> dict[str, Any]:
        """Return all of it, as JSON has it."""
        return {**asdict(self), "differences": dict(self.differences), "is_same": self.is_same}

    def _shown(self) -> list[str]:
        """Return the first differences of the first requests that have any."""
        by_request: defaultdict[str, list[str]] = defaultdict(list)
        for difference in self.named:
            by_request[difference.request_id].append(f"  {difference}")
        return list(chain.from_iterable(lines[:LINES_A_REQUEST] for lines in by_request.values()))[:LINES_SHOWN]

    def summary(self) -> str:
        """Return it in lines for people."""
        how = "all in one order" if self.serial else "each user in order"
        same = self.compared - self.differing
        counts = f"{self.answers} answers, {self.compared} compared: {same} the same, {self.differing} differ"
        lines = [f"played again, {how}, in {self.seconds:.1f} s: {counts}"]
        if self.differences:
            lines.append("differ: " + ", ".join(f"{what} {count}" for what, count in self.differences.most_common()))
        lines += self._shown()
        lines += [f"not compared: {len(ids)}, as {why}" for why, ids in self.not_compared.items()]
        if self.unanswered:
            lines.append(f"unanswered: {', '.join(map(repr, self.unanswered))}")
        return "\n".join(lines)
