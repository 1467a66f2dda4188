"""Outcomes made by hand: everything done a fixed time after it was due, but for what a test changes."""

from pathlib import Path

import numpy as np

from schemas.events import RatingEvent
from services.loadtest.load import load_of
from services.loadtest.outcome import Outcome
from services.loadtest.plan import Plan, Terms, make_plan
from services.loadtest.resources import Resources
from services.loadtest.schedule import Pace

RATE = 100.0
SECONDS = 4.0
TERMS = Terms(Pace(rate=RATE), duration_s=SECONDS, probe_share=0.2, warm_up_s=1.0)
ABOUT = {"load": "made by hand", "embedded": False, "versions": {"streamrec": "0"}, "cores": 2, "settings": {}}


def events(count: int) -> list[RatingEvent]:
    return [
        RatingEvent(user_id=f"u{number % 7}", item_id=f"i{number % 11}", rating=1.0 + number % 5, ts_ms=1000 * number)
        for number in range(count)
    ]


def plan_of(directory: Path, terms: Terms = TERMS) -> Plan:
    return make_plan("run", load_of("made by hand", events(400)), terms, directory)


def outcome_of(plan: Plan, latency_s: float = 0.05, applied_per_s: float = 1e9) -> Outcome:
    """Every request answered, and every rating visible, ``latency_s`` after it was due; all on partition 0."""
    count = len(plan.due)
    offsets = np.arange(count)
    looks_s = np.arange(-0.2, SECONDS + 1.0, 0.01)
    due_then = np.searchsorted(plan.due, looks_s - latency_s, side="right")
    applied = np.minimum(due_then, np.maximum(looks_s, 0) * applied_per_s).astype(np.int64)
    resources = Resources({})
    return Outcome(
        plan=plan,
        partitions=np.zeros(count, np.int32),
        offsets=offsets,
        late_s=np.zeros(count),
        request_late_s=np.zeros(len(plan.request_due)),
        visible_s=np.where(plan.probed, plan.due + latency_s, np.nan),
        visible_codes=[""] * count,
        unproven=[],
        answered_s=plan.request_due + latency_s,
        answer_codes=[""] * len(plan.request_due),
        sent_probes=plan.probed.copy(),
        repeats=0,
        send_errors={},
        looks_s=looks_s,
        applied=applied,
        acknowledged=np.searchsorted(plan.due, looks_s, side="right"),
        resources=resources,
        answers_kept=None,
        started=0.0,
        begin={0: 0},
    )
