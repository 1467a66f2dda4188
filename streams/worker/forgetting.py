"""What a forget event does to a user, decided from what is stored; and which events a cut leaves out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from recommender.hashing import hash_id
from recommender.ledger import Ledger, entries
from schemas.errors import EventError
from schemas.forget import ForgetEvent, decode_forget
from streams.store.writer import DELTA
from streams.worker.batches import BadRecord, LogRecord

Cuts = dict[str, dict[str, int]]
"""By topic id and partition: the offset below which a user's events do not count."""


@dataclass(frozen=True, slots=True)
class Forgetting:
    """A forget event with the record it came in."""

    record: LogRecord
    event: ForgetEvent


@dataclass(frozen=True, slots=True, eq=False)
class ForgetPlan:
    """What is to be written.

    Attributes:
        removes: whether the ledger goes.
        cuts: what is kept under the hash of the user's id.
        deltas: the user's part of the item statistics, negative.
    """

    removes: bool
    cuts: bytes
    deltas: np.ndarray


def take_forgets(bad: Iterable[BadRecord]) -> tuple[list[Forgetting], list[BadRecord]]:
    """Return the forget events among the records that are no ratings, and those that are bad indeed."""
    forgets, left = [], []
    for fault in bad:
        try:
            event = decode_forget(fault.record.value)
        except EventError as error:
            left.append(BadRecord(fault.record, error.reason))
            continue
        if event is None:
            left.append(fault)
        else:
            forgets.append(Forgetting(fault.record, event))
    return forgets, left


def plan_forget(
    forget: Forgetting, ledger: Ledger | None, stored: bytes, *, topic_id: str, partition: int
) -> ForgetPlan:
    """Return what a forget event does.

    The first partition whose event comes removes the ledger, whatever is in it. In another one, later, the ledger goes
    only when its newest rating lies in that partition, that is, before this record: the cut was taken before the
    record was written, and what came between is forgotten too.

    Args:
        forget: the event and its record.
        ledger: what is stored of the user.
        stored: the cuts stored, empty for none.
        topic_id: id of the ratings topic.
        partition: where the record lies.
    """
    cuts: Cuts = read_cuts(stored)
    mine = cuts.setdefault(topic_id, {})
    wanted = {str(place): cut for place, cut in forget.event.cut.items() if place != partition}
    is_repeat = bool(mine) and all(mine.get(place, 0) >= cut for place, cut in wanted.items())
    for place, cut in {**wanted, str(partition): forget.record.offset + 1}.items():
        mine[place] = max(cut, mine.get(place, 0))
    last = None if ledger is None else ledger.last
    ends_here = last is not None and (last.topic, last.partition) == (hash_id(topic_id), partition)
    removes = ledger is not None and (ends_here or not is_repeat)
    deltas = np.empty(0, DELTA)
    if ledger is not None and removes:
        rated = entries(ledger)
        deltas = np.empty(len(rated), DELTA)
        deltas["item"] = rated["item"]
        deltas["count"] = -rated["count"].astype(np.int64)
        deltas["rating_sum"] = -rated["rating_sum"]
    return ForgetPlan(removes, msgspec.json.encode(cuts, order="sorted"), deltas)


def read_cuts(stored: bytes) -> Cuts:
    """Return the cuts of a stored value, none of an empty one."""
    return msgspec.json.decode(stored, type=Cuts) if stored else {}


def cuts_here(stored: Mapping[str, bytes], topic_id: str, partition: int) -> dict[str, int]:
    """Return, of users with stored cuts, the offset below which their events in one partition do not count."""
    return {user_id: read_cuts(value).get(topic_id, {}).get(str(partition), 0) for user_id, value in stored.items()}
