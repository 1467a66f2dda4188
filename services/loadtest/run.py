"""One run: everything sent on schedule, every answer noted, and a look at the system all the while."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from kafka import TopicPartition

from recommender.arrays import Floats
from schemas.errors import ConfigurationError
from services.loadtest.applied import AppliedCount
from services.loadtest.collector import CollectTask, collect
from services.loadtest.crew import Crew, Member
from services.loadtest.generator import NOT_ACKNOWLEDGED, SendTask, send
from services.loadtest.outcome import Look, Outcome, find_unproven
from services.loadtest.plan import Plan
from services.loadtest.resources import Resources
from services.loadtest.spool import ITEM, RATING, Spool
from streams.bus.clients import make_admin, make_consumer
from streams.bus.ends import find_ends
from streams.bus.topics import TopicInfo, require_topic
from streams.settings import Settings

LOOK_EVERY_S = 0.05
SAMPLE_EVERY_S = 0.5
SHOW_EVERY_S = 0.25


def run_plan(
    settings: Settings,
    plan: Plan,
    directory: Path,
    *,
    pids: Mapping[str, int] | None = None,
    check: Callable[[], None] = lambda: None,
    on_look: Callable[[Look], None] = lambda _: None,
    keeps_answers: bool = False,
) -> Outcome:
    """Run a plan against the servers of the settings.

    Args:
        settings: where broker and store are.
        plan: what to send.
        directory: for files on the way.
        pids: further processes to watch, by name.
        check: called at every look; raises when the system is broken.
        on_look: called a few times a second.
        keeps_answers: whether to keep the answers themselves.

    Raises:
        ConfigurationError: a server does not answer, or a topic is missing.
        StreamrecError: a process of the run failed.
    """
    return _Run(settings, plan, directory, check, on_look, keeps_answers=keeps_answers).run(pids or {})


def member_names(generators: int) -> list[str]:
    """Return the names of a run's own processes: those that send ratings, the one that asks, the one that listens.

    >>> member_names(1)
    ['ratings generator', 'requests generator', 'answers collector']
    """
    several = [f"ratings-{number} generator" for number in range(generators)]
    return [*(several if generators > 1 else ["ratings generator"]), "requests generator", "answers collector"]


class _Run:
    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        directory: Path,
        check: Callable[[], None],
        on_look: Callable[[Look], None],
        *,
        keeps_answers: bool,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._directory = directory
        self._check = check
        self._on_look = on_look
        self._answers = directory / f"{plan.run}.answers" if keeps_answers else None
        self._looks: list[tuple[float, int, int]] = []
        self._shown_at = 0.0

    def run(self, pids: Mapping[str, int]) -> Outcome:
        admin = make_admin(self._settings)
        ratings, answers = (require_topic(admin, self._settings.topic(role)) for role in ("ratings", "recommendations"))
        admin.close()
        begin = _ends(self._settings, ratings)
        with ExitStack() as stack:
            applied = stack.enter_context(AppliedCount(self._settings, ratings, begin))
            crew = stack.enter_context(Crew())
            self._senders, self._asker, self._listener = self._hire(
                crew, _ends(self._settings, answers), ratings.partitions
            )
            started, self._start = time.time(), crew.go()
            own = {member.name: member.pid for member in crew.members}
            self._resources = Resources({**pids, **own}, lambda: time.monotonic() - self._start)
            self._lead(crew, applied)
        return self._outcome(started, begin)

    def _hire(self, crew: Crew, starts: dict[int, int], partitions: int) -> tuple[list[Member], Member, Member]:
        settings, plan = self._settings, self._plan
        topics = tuple(settings.topic(role) for role in ("ratings", "requests", "items"))

        *sender_names, asker_name, listener_name = member_names(plan.terms.generators)
        if len(sender_names) > partitions:
            raise ConfigurationError(
                f"there may be one generator a partition of ratings, {partitions}, got {len(sender_names)}"
            )

        def task(spool: Path, name: str, **more: Any) -> SendTask:
            kept = self._directory / f"{plan.run}.{name}.npz"
            return SendTask(settings, spool, kept, plan.run, topics, plan.terms.deadline_ms, partitions, **more)

        senders, heard = [], []
        for number, name in enumerate(sender_names):
            hears, says = Pipe(duplex=False)
            share = number, len(sender_names)
            own = task(plan.ratings_spool, f"ratings-{number}", share=share, acknowledged=says)
            senders.append(crew.add(name, send, own))
            says.close()
            heard.append(hears)
        asker = crew.add(asker_name, send, task(plan.requests_spool, "requests-sent", asks_after=tuple(heard)))
        for hears in heard:
            hears.close()
        kept = self._directory / f"{plan.run}.came.npz"
        listening = CollectTask(
            settings, plan.run, plan.ratings_spool, plan.requests_spool, starts, partitions, kept, self._answers
        )
        return senders, asker, crew.add(listener_name, collect, listening)

    def _lead(self, crew: Crew, applied: AppliedCount) -> None:
        """Look on until everything is answered and applied, or the time for that is over."""
        give_up_at: float | None = None
        sample_at = 0.0
        while True:
            self._check()
            crew.listen()
            at_s = time.monotonic() - self._start
            count, acknowledged = applied.read(), self._total("acknowledged")
            self._looks.append((at_s, count, acknowledged))
            if at_s >= sample_at:
                sample_at = at_s + SAMPLE_EVERY_S
                self._resources.sample()
            is_sent = all(member.is_done for member in [*self._senders, self._asker])
            self._show("waiting" if is_sent else "sending", at_s, count, acknowledged)
            if is_sent:
                give_up_at = give_up_at or time.monotonic() + self._plan.terms.drain_s
                if self._is_complete(count) or time.monotonic() > give_up_at:
                    break
            time.sleep(LOOK_EVERY_S)
        self._listener.connection.send("end")
        while not self._listener.is_done:
            crew.listen()
            time.sleep(LOOK_EVERY_S)

    def _total(self, what: str) -> int:
        return sum(int(member.progress.get(what, 0)) for member in self._senders)

    def _is_complete(self, applied: int) -> bool:
        told = self._listener.progress
        return (
            applied >= self._total("acknowledged")
            and told.get("answered", 0) >= len(self._plan.request_due)
            and told.get("probes_answered", 0) >= self._total("probes")
        )

    def _show(self, phase: str, at_s: float, applied: int, acknowledged: int) -> None:
        if at_s < self._shown_at:
            return
        self._shown_at = at_s + SHOW_EVERY_S
        told = self._listener.progress
        errors: Counter[str] = Counter(told.get("errors", {}))
        for member in (*self._senders, self._asker):
            errors.update(member.progress.get("errors", {}))
        self._on_look(
            Look(
                phase=phase,
                at_s=at_s,
                seconds=self._plan.seconds,
                due=int(np.searchsorted(self._plan.due, at_s)),
                sent=self._total("sent"),
                applied=applied,
                lag=max(0, acknowledged - applied),
                requests_due=int(np.searchsorted(self._plan.request_due, at_s)),
                answered=int(told.get("answered", 0)),
                told={name: value for name, value in told.items() if name.endswith("_ms")},
                errors=errors,
                cores={name: values[-1] for name, values in self._resources.cores.items() if values},
            )
        )

    def _outcome(self, started: float, begin: dict[int, int]) -> Outcome:
        partitions, offsets, late = self._sent_ratings()
        with np.load(self._directory / f"{self._plan.run}.requests-sent.npz") as kept:
            request_late_s = kept["late_s"]
        with np.load(self._listener.progress["kept"]) as came:
            visible_s, applied_to = came["probes_at_s"], came["applied_to"]
            visible_codes = [str(came["probes_names"][code]) for code in came["probes_codes"]]
            answered_s = came["requests_at_s"]
            answer_codes = [str(came["requests_names"][code]) for code in came["requests_codes"]]
            repeats = int(came["repeats"])
        looks_s, applied, acknowledged = (np.array(column) for column in zip(*self._looks, strict=True))
        errors: Counter[str] = Counter()
        for member in (*self._senders, self._asker):
            errors.update(member.progress.get("errors", {}))
        sent_probes = self._plan.probed & (offsets != NOT_ACKNOWLEDGED)
        return Outcome(
            self._plan,
            partitions,
            offsets,
            late,
            request_late_s,
            visible_s,
            visible_codes,
            find_unproven(visible_s, visible_codes, partitions, offsets, applied_to),
            answered_s,
            answer_codes,
            sent_probes,
            repeats,
            dict(errors),
            looks_s,
            applied,
            acknowledged,
            self._resources,
            self._answers,
            started,
            begin,
        )

    def _sent_ratings(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Floats]:
        spool = Spool(self._plan.ratings_spool)
        is_rating = spool.kinds == RATING
        assert int((spool.kinds == ITEM).sum()) == len(self._plan.load.new_items)
        partitions = np.full(len(spool), NOT_ACKNOWLEDGED, np.int32)
        offsets, late_s = np.full(len(spool), NOT_ACKNOWLEDGED, np.int64), np.full(len(spool), np.nan)
        for sender in self._senders:
            with np.load(sender.progress["kept"]) as kept:
                sent = ~np.isnan(kept["late_s"])
                partitions[sent], offsets[sent] = kept["partitions"][sent], kept["offsets"][sent]
                late_s[sent] = kept["late_s"][sent]
        return partitions[is_rating], offsets[is_rating], late_s[is_rating]


def _ends(settings: Settings, topic: TopicInfo) -> dict[int, int]:
    consumer = make_consumer(settings)
    try:
        ends = find_ends(consumer, [TopicPartition(topic.name, partition) for partition in range(topic.partitions)])
    finally:
        consumer.close()
    return {tp.partition: end for tp, end in ends.items()}
