"""Play a recorded run again, in the order of its states instead of its clock, and compare the answers.

Each user by themselves: a request goes out when the ratings that made its t were sent, waits in the scorer for that t,
and the user's next rating waits for its answer. Serially: the whole log in one order, and nothing else is under way
while a request is answered, so that item statistics are those of the record too.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from schemas.events import Recommendation
from services.loadtest.answers_compared import Comparison, used_statistics
from services.loadtest.logical_order import PlayedRequest, Script, Step, by_log, by_user, make_script
from services.loadtest.player_bus import PlayerBus
from services.loadtest.record import read_about, read_record
from streams.ratings import make_rating_decoder
from streams.settings import Settings

__all__ = ["play_again", "read_about"]

OPEN_AT_ONCE = 500
"""Requests that may wait for their state: the scorer has room for 2,000, with those of others."""
STALL_S = 90.0
"""Longer than a request may wait for its state: whoever answers then has failed."""
STATISTICS_USED = "it used item statistics, which depend on all users: --serial compares it"

OnProgress = Callable[[int, int], None]
"""Called with how many requests were answered so far, and how many there are."""


def play_again(
    directory: Path,
    settings: Settings,
    *,
    serial: bool,
    has_state: bool = False,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Comparison:
    """Play a record against a running system and return how the answers compare.

    Args:
        directory: the record.
        settings: of the system: its topics exist, worker and scorer run, its catalogue and models are live.
        serial: one event after the other; answers that used item statistics are compared only so.
        has_state: do not refuse a log that is not empty, or users that are known: their answers will differ.
        on_progress: told of every answer.

    Raises:
        DataError: the record cannot be read.
        ConfigurationError: no broker answers, a topic does not exist, or there is state already.
        StoreUnavailable: the store did not answer.
        StreamrecError: the bus failed, or ratings were not applied for a long time.
    """
    script = make_script(read_record(directory), make_rating_decoder(settings))
    with ExitStack() as opened:
        bus = PlayerBus(settings, opened)
        if not has_state:
            bus.refuse_state({rating.key for rating in script.ratings if rating.t is not None})
        return play_script(script, bus, serial=serial, on_progress=on_progress)


def play_script(
    script: Script, bus: PlayerBus, *, serial: bool, on_progress: OnProgress = lambda _done, _total: None
) -> Comparison:
    """Send a script and return how the answers compare, each as it comes.

    Raises:
        StreamrecError: the bus failed.
    """
    comparison = Comparison(serial, answers=script.answered)
    done = 0

    def take(request: PlayedRequest, again: Recommendation) -> None:
        nonlocal done
        done += 1
        recorded = request.recorded
        if why := _why_not(script, recorded, again, serial=serial):
            comparison.leave_out(why, request.request_id)
        else:
            comparison.compare(recorded, again)
        on_progress(done, len(script.requests))

    began = time.monotonic()
    talk = _Conversation(bus, take)
    for value in script.unreadable:
        bus.request("", value)
    _play_serially(script, bus, talk) if serial else _play_users(script, talk)
    for why, ids in script.left_out.items():
        comparison.not_compared.setdefault(why, []).extend(ids)
    missing = {request.request_id for request in script.requests} - talk.answered
    comparison.unanswered = sorted(missing.difference(*script.left_out.values()))
    comparison.seconds = time.monotonic() - began
    return comparison


def _why_not(script: Script, recorded: Recommendation, again: Recommendation, *, serial: bool) -> str:
    """Return why two answers cannot be compared; empty when they can."""
    if recorded.user_id in script.doubtful:
        return script.doubtful[recorded.user_id]
    is_error = recorded.error is not None or again.error is not None
    if is_error or not (used_statistics(recorded) or used_statistics(again)):
        return ""
    if not serial:
        return STATISTICS_USED
    if script.gap:
        return f"it used item statistics, and {script.gap}"
    if recorded.state.statistics_to != recorded.state.applied_to:
        return "it used item statistics of another moment than the user's state"
    return ""


def _play_users(script: Script, talk: "_Conversation") -> None:
    """Send every user's steps, many users side by side."""
    due = deque(_Turn(iter(steps)) for steps in by_user(script))
    while (due or talk.open) and not talk.is_stalled:
        while due and len(talk.open) < OPEN_AT_ONCE:
            talk.advance(due.popleft())
        talk.listen()


def _play_serially(script: Script, bus: PlayerBus, talk: "_Conversation") -> None:
    """Send one step after the other; requests go out when everything sent before was applied."""
    for step in by_log(script):
        if isinstance(step, tuple):
            bus.wait_until_applied()
        talk.advance(_Turn(iter((step,))))
        while talk.open and not talk.is_stalled:
            talk.listen()
        if talk.is_stalled:
            return


@dataclass(slots=True, eq=False)
class _Turn:
    """Steps that follow one another, and how many requests the next one waits for."""

    steps: Iterator[Step]
    open: int = 0


class _Conversation:
    """Sends steps as answers come."""

    def __init__(self, bus: PlayerBus, take: Callable[[PlayedRequest, Recommendation], None]) -> None:
        self._bus, self._take = bus, take
        self._heard_at = time.monotonic()
        self.answered: set[str] = set()
        self.open: dict[str, tuple[_Turn, PlayedRequest]] = {}

    @property
    def is_stalled(self) -> bool:
        """Whether nothing came for so long that nothing will."""
        return bool(self.open) and time.monotonic() - self._heard_at > STALL_S

    def advance(self, turn: _Turn) -> None:
        """Send ratings up to the next requests, and these."""
        for step in turn.steps:
            if not isinstance(step, tuple):
                self._bus.rate(step)
                continue
            turn.open = len(step)
            if not self.open:
                self._heard_at = time.monotonic()
            for request in step:
                self.open[request.request_id] = turn, request
                self._bus.request(request.user_id, request.value)
            return

    def listen(self) -> None:
        """Take the answers of a moment, and send what waited for them."""
        for answer in self._bus.poll():
            turn, request = self.open.pop(answer.request_id, (None, None))
            if turn is None or request is None:  # an answer given twice, or to somebody else
                continue
            self._heard_at = time.monotonic()
            self.answered.add(answer.request_id)
            self._take(request, answer)
            turn.open -= 1
            if not turn.open:
                self.advance(turn)
