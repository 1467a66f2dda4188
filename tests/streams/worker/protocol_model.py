"""What the state must be at given watermarks: folded from the log in plain dictionaries, by no code of the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WINDOW, KEPT = 64, 32


@dataclass(frozen=True, slots=True)
class Said:
    """One record, as whoever produced it meant it.

    Attributes:
        kind: ``rating``, ``bad`` or ``forget``.
        user_id: whose, empty for a bad record.
        item_id: what was rated.
        rating: in units of 1/10000.
        event_id: given by the producer, None for none.
        redrive: coordinates of the dead letter that was sent again, None for a record of its own.
        cut: of a forget event, where each partition ended when it was made.
        number: of the forget event; each partition has a record of the same number.
    """

    kind: str
    user_id: str = ""
    item_id: str = ""
    rating: int = 0
    event_id: str | None = None
    redrive: bytes | None = None
    cut: tuple[int, ...] = ()
    number: int = 0


Log = Sequence[Sequence[Said]]
Place = tuple[int, int, Said]


@dataclass(frozen=True, slots=True)
class User:
    """What must be stored of a user.

    Attributes:
        events: ratings applied; of a user with ratings in one partition in order, else in any.
        is_ordered: whether the order is known.
        is_open: the user is being forgotten, some partitions are behind it and the user's own is not: any piece of
            the past may still be there.
    """

    events: list[Place]
    is_ordered: bool = True
    is_open: bool = False


@dataclass(slots=True)
class Table:
    """Counts, the newest t and sums by item, of one user."""

    entries: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Sequence[Place]) -> "Table":
        """Return the table of some ratings in order."""
        table = cls()
        for t, (_, _, said) in enumerate(events):
            entry = table.entries.setdefault(said.item_id, [0, 0, 0])
            entry[0] += 1
            entry[1] = t
            entry[2] += said.rating
        return table


def expected_users(log: Log, marks: Sequence[int], homes: Mapping[str, int | None]) -> dict[str, User]:
    """Return what must be stored of every user whose shard has these watermarks.

    Args:
        log: the records of each partition.
        marks: the next offset of each partition.
        homes: the one partition that a user's ratings lie in, None for any.
    """
    found = {}
    for user_id, home in homes.items():
        if home is None:
            events = [
                (partition, offset, said)
                for partition, mark in enumerate(marks)
                for offset, said in enumerate(log[partition][:mark])
                if said.kind == "rating" and said.user_id == user_id
            ]
            found[user_id] = User(_once(_redriven_once(events), window=None), is_ordered=False)
        else:
            found[user_id] = _home_user(log, marks, user_id, home)
    return {user_id: user for user_id, user in found.items() if user.events or user.is_open}


def _home_user(log: Log, marks: Sequence[int], user_id: str, home: int) -> User:
    behind = [
        {said.number for said in log[partition][:mark] if said.kind == "forget" and said.user_id == user_id}
        for partition, mark in enumerate(marks)
    ]
    first, events = 0, []
    for offset, said in enumerate(log[home][: marks[home]]):
        if said.user_id != user_id:
            continue
        if said.kind == "forget":
            first = offset + 1
        elif said.kind == "rating":
            events.append((home, offset, said))
    is_open = bool(set().union(*behind) - behind[home])
    kept = [place for place in _redriven_once(events) if place[1] >= first]
    return User(_once(kept, WINDOW), is_open=is_open)


def _redriven_once(events: Sequence[Place]) -> list[Place]:
    """Leave out dead letters sent again twice; one sent again before its user was forgotten counts as sent."""
    taken: list[Place] = []
    redriven = set()
    for place in events:
        name = place[2].redrive
        if name is None or name not in redriven:
            taken.append(place)
        redriven.add(name)
    return taken


def _once(events: Sequence[Place], window: int | None) -> list[Place]:
    """Leave out event ids repeated among the newest events."""
    taken: list[Place] = []
    known: list[str | None] = []
    for place in events:
        said = place[2]
        if said.event_id is not None and said.event_id in known:
            continue
        taken.append(place)
        known.append(said.event_id)
        if window is not None and len(known) > window:
            known = known[-KEPT:]
    return taken


def expected_redriven(log: Log, marks: Sequence[int], homes: Mapping[str, int | None]) -> set[bytes]:
    """Return the coordinates of the redriven dead letters that were applied, of users as above."""
    return {
        said.redrive
        for partition, mark in enumerate(marks)
        for said in log[partition][:mark]
        if said.redrive is not None and said.user_id in homes
    }
