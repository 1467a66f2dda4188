"""The commit protocol as a state machine: anything may happen to the workers between any two of their steps."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recommender.ledger.batch import EmbeddedItems
from schemas.codec import encode
from schemas.events import RatingEvent
from schemas.forget import ForgetEvent, encode_forget
from streams.bus.dead_letters import REDRIVE_HEADER
from tests.faults.book import BAD, QUANTUM
from tests.streams.worker.memory import MemoryRecord
from tests.streams.worker.protocol_check import hash_of, read_shard, shard_faults
from tests.streams.worker.protocol_model import Said
from tests.streams.worker.protocol_stage import GUARDED, TOPIC_ID, Call, Stage

PARTITIONS, SHARDS, WORKERS = 2, 2, 3
ITEMS = "abcdef"
HOMES: dict[str, int | None] = {"h0": 0, "h1": 1, "v0": 0, "w1": 1, "s0": None, "s1": None, "s2": None}
"""Users, and the partition their ratings lie in; those of h are forgotten now and then, those of s are in both."""

REDRIVEN = {b"T/0/%d" % (900 + n): user_id for n, user_id in enumerate([*HOMES] * 2)}
"""Dead letters that may be sent again, and whose ratings they are."""

SHARED_EVENTS = 60
"""Most ratings of a user in both partitions: all stay in the window that event ids are compared in."""

MOST_BAD = 15
"""Too few for the dead-letter breaker, however short the log."""

BURST = 70
MOST_FETCHED = 200
MOST_CALLS = 80
ROUNDS = 400
ROUNDS_AFTER = 4
VECTORS = {item: [hash_of(item) % 7 - 3.0, hash_of(item) % 11 - 5.0] for item in ITEMS[:-1]}
"""The last item has none."""

PICK = st.tuples(st.integers(0, 99), st.integers(0, 5), st.integers(1, 10), st.integers(0, 7))
"""A record: of which kind or whose, which item, how many half stars, which event id."""

SHARD_SETS = st.sampled_from([(0,), (1,), (0, 1), (0, 1)])
"""Which shards the store comes back without the newest writes of: all on one server, in a cluster perhaps one."""

_numbers = itertools.count()


def embedded_items() -> EmbeddedItems:
    """Return the vectors as the worker takes them."""
    ordered = sorted(VECTORS, key=hash_of)
    hashes = np.array([hash_of(item) for item in ordered], np.uint64)
    return EmbeddedItems(b"vectors!", hashes, np.array([VECTORS[item] for item in ordered]))


@dataclass(slots=True)
class Kept:
    """A shard as it was at some moment, and who held its partitions then."""

    dump: dict[bytes, bytes]
    holders: dict[str, str]


class CommitProtocol(RuleBasedStateMachine):
    """Two partitions, two shards, three workers; the model is folded from the log at the store's watermarks.

    Args:
        client: of the store.
        name: prefix of the namespaces.
        finishes: whether everything is run to its end in the end.
    """

    def __init__(self, client: redis.Redis, name: str, *, finishes: bool = True) -> None:
        super().__init__()
        self.finishes = finishes
        self.stage = Stage(client, f"{name}-{next(_numbers)}", PARTITIONS, SHARDS, WORKERS, embedded_items())
        self.log: list[list[Said]] = [[] for _ in range(PARTITIONS)]
        self.holders: list[dict[str, str]] = [{} for _ in range(SHARDS)]
        self.kept: list[list[Kept]] = [[] for _ in range(SHARDS)]
        self.highest = [0] * PARTITIONS
        self.forgets = itertools.count()
        self.touched = set[int]()
        self.is_broken = False

    # What producers do

    @initialize(first=st.lists(PICK, min_size=4, max_size=8), second=st.lists(PICK, min_size=4, max_size=8))
    def begin(self, first, second):
        """There is a log, and a worker on each partition. No store goes back further: emptied, it halts the worker."""
        for partition, picks in enumerate((first, second)):
            self.produce(partition, picks)
            self.take(partition, partition, 0)
        self.keep()

    @rule(partition=st.integers(0, PARTITIONS - 1), picks=st.lists(PICK, min_size=1, max_size=5))
    def produce(self, partition, picks):
        users = [user_id for user_id, home in HOMES.items() if home in (partition, None)]
        for kind, item, stars, event in picks:
            if kind < 10:
                self._append_bad(partition, kind % len(BAD))
            elif kind < 15:
                for number in range(BURST):
                    self._append(partition, _rating(users[0], (item + number) % 6, stars))
            else:
                user_id, event_id = users[kind % len(users)], event if event < 3 else None
                if event_id is not None and HOMES[user_id] is None:  # whichever partition's is the repeat
                    self._append(partition, _rating(user_id, event, event + 1, event_id))
                else:
                    self._append(partition, _rating(user_id, item, stars, event_id))

    @rule(home=st.integers(0, PARTITIONS - 1), gap=st.booleans())
    def forget(self, home, gap):
        """A user is forgotten, in every partition; in the gap they say one thing more."""
        user_id, cut, number = f"h{home}", tuple(map(len, self.log)), next(self.forgets)
        if gap:
            self._append(home, _rating(user_id, 0, 3))
        for partition in range(PARTITIONS):
            self._append(partition, Said("forget", user_id, cut=cut, number=number))

    @rule(name=st.sampled_from(sorted(REDRIVEN)))
    def redrive(self, name):
        """A dead letter is sent again; of a user in both partitions, to both, by two redrives."""
        home = HOMES[REDRIVEN[name]]
        for partition in range(PARTITIONS) if home is None else [home]:
            number = int(name[-1:])
            self._append(partition, _rating(REDRIVEN[name], number % len(ITEMS), number + 1, redrive=name))

    def _append_bad(self, partition: int, which: int) -> None:
        if sum(said.kind == "bad" for said in self.log[partition]) < MOST_BAD:
            self._append(partition, Said("bad", number=which))

    def _append(self, partition: int, said: Said) -> None:
        if HOMES.get(said.user_id, 0) is None:
            known = sum(other.user_id == said.user_id for records in self.log for other in records)
            if known >= SHARED_EVENTS:
                return
        self.stage.logs[partition].append(_record(len(self.log[partition]), said))
        self.log[partition].append(said)

    # What workers do

    @rule(
        number=st.integers(0, WORKERS - 1), partition=st.integers(0, PARTITIONS - 1), stops=st.sampled_from([0, 0, 4])
    )
    def take(self, number, partition, stops):
        """A worker is assigned a partition, whoever has it; perhaps it gets only some of the way."""
        worker = self.stage.workers[number]
        if worker.is_running(partition):
            return
        worker.take(partition)
        self.stage.settle()
        self._advance(number, stops or MOST_CALLS, {"fetch"})

    @rule(
        number=st.integers(0, WORKERS - 1),
        count=st.sampled_from([1, 2, 3, 5, MOST_FETCHED]),
        door=st.sampled_from(["fetch", "fetch", "read", "commit", "forget"]),
        newest_first=st.booleans(),
    )
    def work(self, number, count, door, newest_first):
        """A worker fetches and applies a batch, or comes to the door of the store with it."""
        if fetch := next((call for call in self._calls(number) if call.name == "fetch"), None):
            self._let(fetch, count)
        self._advance(number, MOST_CALLS, {"fetch", door}, newest_first=newest_first)

    @rule(
        number=st.integers(0, WORKERS - 1),
        count=st.sampled_from([1, 2, 5, MOST_FETCHED]),
        door=st.sampled_from(["fetch", "commit", "forget", "forget"]),
        shards=SHARD_SETS,
    )
    def work_in_vain(self, number, count, door, shards):
        """A worker applies a batch, or some of it, and the store comes back without it."""
        self.keep()
        self.work(number, count, door, newest_first=False)
        self.nothing_is_lost_or_doubled()
        self.go_back(0, shards)

    @precondition(lambda self: self.stage.door.waiting)
    @rule(which=st.integers(0, 9), count=st.integers(1, 5))
    def step(self, which, count):
        """One call of some worker is done."""
        waiting = self.stage.door.waiting
        self._let(waiting[which % len(waiting)], count)

    @rule(
        user_id=st.sampled_from([user_id for user_id, home in HOMES.items() if home is None]),
        what=st.sampled_from(["ratings", "redriven", "forget"]),
        door=st.sampled_from(["read", "commit"]),
        ahead=st.integers(0, PARTITIONS),
    )
    def meet(self, user_id, what, door, ahead):
        """Workers of both partitions come to the door with the same user, or event; one of them goes on."""
        if what == "forget":
            self.forget((ahead + 1) % PARTITIONS, gap=True)
            door = "forget"
        elif what == "redriven":
            names = [name for name in REDRIVEN if REDRIVEN[name] == user_id]
            self.redrive(min(names, key=self._is_said))
        else:
            for partition in range(PARTITIONS):
                self._append(partition, _rating(user_id, partition, 5))
        for partition in range(PARTITIONS):
            if (number := self._holder(partition)) is not None:
                self.work(number, MOST_FETCHED, door, newest_first=False)
        if ahead < PARTITIONS and (number := self._holder(ahead)) is not None:
            self._advance(number, MOST_CALLS, {"fetch"})

    @rule(home=st.integers(0, PARTITIONS - 1), picks=st.lists(PICK, min_size=2, max_size=4), shards=SHARD_SETS)
    def forget_in_vain(self, home, picks, shards):
        """The store comes back without what lies between it and a forget event that stands at its door."""
        if (number := self._holder(home)) is None:
            return
        self.work(number, MOST_FETCHED, "nothing", newest_first=False)
        self.keep()
        self.produce(home, picks)
        self.forget(home, gap=False)
        self.work(number, MOST_FETCHED, "forget", newest_first=False)
        self.nothing_is_lost_or_doubled()
        self.go_back(0, shards)
        self._advance(number, MOST_CALLS, {"fetch"})

    def _holder(self, partition: int) -> int | None:
        running = [worker.number for worker in self.stage.workers if worker.is_running(partition)]
        return running[-1] if running else None

    def _is_said(self, name: bytes) -> bool:
        return any(said.redrive == name for records in self.log for said in records)

    def _advance(self, number: int, most: int, stops: set[str], *, newest_first: bool = False) -> None:
        for _ in range(most):
            calls = [call for call in self._calls(number) if call.name not in stops]
            if not calls:
                return
            self._let(calls[-1 if newest_first else 0])

    def _calls(self, number: int) -> list[Call]:
        return [call for call in self.stage.door.waiting if call.worker == number]

    # What goes wrong

    @precondition(lambda self: any(call.name != "fetch" for call in self.stage.door.waiting))
    @rule(
        which=st.integers(0, 9),
        how=st.sampled_from(["call lost", "reply lost", "late", "crash before", "crash after", "crash, late"]),
    )
    def fail(self, which, how):
        """A call or its reply is lost, or done when nobody waits for it any more, or its worker dies around it."""
        calls = [call for call in self.stage.door.waiting if call.name != "fetch"]
        calls.sort(key=lambda call: call.name not in GUARDED)
        call = calls[which % len(calls)]
        if how.endswith("late"):
            self.stage.late.append(call)
        if how in {"reply lost", "crash after"}:
            self._observe(call, call.run())
        if how.startswith("crash"):
            self.stage.crash(call.worker)
        else:
            self.stage.lose(call)

    @rule(
        partition=st.integers(0, PARTITIONS - 1),
        door=st.sampled_from(["commit", "forget"]),
        picks=st.lists(PICK, min_size=1, max_size=3),
    )
    def two_with_one_fence(self, partition, door, picks):
        """The store forgets a claim under which a worker stands at its door, and hands its fence out again."""
        first, second, third = range(WORKERS)
        self.crash(second)
        self.crash(third)
        self.take(first, partition, 0)
        self.work(first, MOST_FETCHED, "fetch", newest_first=False)
        if door == "forget":
            self.forget(partition, gap=False)
        self.produce(partition, picks)
        self.keep()
        self.take(second, partition, 0)
        self.work(second, MOST_FETCHED, door, newest_first=False)
        self.nothing_is_lost_or_doubled()
        self.go_back(0, range(SHARDS))
        self.take(third, partition, 0)

    @precondition(lambda self: self.stage.late)
    @rule(which=st.integers(0, 9))
    def arrive_late(self, which):
        call = self.stage.late.pop(which % len(self.stage.late))
        self._observe(call, call.run())

    @rule(number=st.integers(0, WORKERS - 1))
    def crash(self, number):
        self.stage.crash(number)

    @rule()
    def keep(self):
        """The store writes its file."""
        for shard, kept in enumerate(self.kept):
            kept.append(Kept(self.stage.dump(shard), dict(self.holders[shard])))

    @rule(which=st.integers(0, 3), shards=SHARD_SETS)
    def go_back(self, which, shards):
        """The store comes back without its newest writes; as a cluster, perhaps in one shard only."""
        for shard in shards:
            kept = self.kept[shard]
            del kept[max(1, len(kept) - which) :]
            self.stage.restore(shard, kept[-1].dump)
            self.holders[shard] = dict(kept[-1].holders)
            self.touched.add(shard)

    # What must hold

    def _let(self, call: Call, count: int = MOST_FETCHED) -> None:
        answer = self.stage.let(call, *([count] if call.name == "fetch" else []))
        self._observe(call, answer)

    def _observe(self, call: Call, answer: Any) -> None:
        """Note who took a partition; nobody else may write under it from then on."""
        if call.name not in {*GUARDED, "assign"} or answer[0] != b"OK":
            return
        count = call.arguments[1]
        keys, values = call.arguments[2 : 2 + count], call.arguments[2 + count :]
        mark = next(key for key in keys if ":watermark:" in key)
        holders = self.holders[shard := int(mark.partition("}")[0].rpartition(":")[2])]
        self.touched.add(shard)
        if call.name == "assign":
            holders[mark] = values[3]
        elif holders.get(mark) != values[2]:
            self._fail(f"worker {call.worker} wrote under {mark} by {call.name}; it is no longer its own")

    @invariant()
    def nothing_is_lost_or_doubled(self):
        while self.touched:
            shard = self.touched.pop()
            stored = read_shard(self.stage.client, self.stage.namespace, shard, PARTITIONS)
            homes = {user_id: home for user_id, home in HOMES.items() if hash_of(user_id) % SHARDS == shard}
            self._fail_for(shard_faults(stored, self.log, homes, VECTORS))
            self.highest = list(map(max, self.highest, stored.marks))
            self._fail_for(self._letter_faults())
        self._fail_for(map(repr, self.stage.failures))

    def _letter_faults(self) -> list[str]:
        letters = {letter.key: letter for letter in self.stage.letters}
        faults = []
        for partition, records in enumerate(self.log):
            for offset, said in enumerate(records):
                letter = letters.pop(f"{TOPIC_ID}/{partition}/{offset}".encode(), None)
                if said.kind != "bad":
                    if letter is not None:
                        faults.append(f"dead letter {letter.key!r} is of no bad record")
                elif letter is None:
                    if offset < self.highest[partition]:
                        faults.append(f"the dead letter of {partition}/{offset} is lost")
                elif (letter.value, dict(letter.headers)["streamrec-reason"].decode()) != BAD[said.number]:
                    faults.append(f"dead letter {letter.key!r} is not what was refused, or why")
        return [*faults, *(f"dead letter {key!r} is of no record" for key in letters)]

    def _fail_for(self, faults: Iterable[str]) -> None:
        if faults := list(faults):
            self._fail("; ".join(faults))

    def _fail(self, why: str) -> NoReturn:
        self.is_broken = True
        raise AssertionError(why)

    def teardown(self):
        try:
            if self.finishes and not self.is_broken:
                self._finish()
        finally:
            self.stage.close()

    def _finish(self) -> None:
        """Let everything run, with a worker on each partition, until all is applied; zombies go on, too."""
        left = ROUNDS_AFTER
        for _ in range(ROUNDS):
            for partition in range(PARTITIONS):
                if not any(worker.is_running(partition) for worker in self.stage.workers):
                    self.stage.workers[partition].take(partition)
                    self.stage.settle()
            while self.stage.late:
                self.arrive_late(0)
            for call in list(self.stage.door.waiting):
                if not call.answer.done():
                    self._let(call)
            self.nothing_is_lost_or_doubled()
            left -= self._is_applied()
            if not left:
                break
        else:
            self._fail(f"not all is applied after {ROUNDS} rounds")
        self.touched = set(range(SHARDS))
        self.nothing_is_lost_or_doubled()

    def _is_applied(self) -> bool:
        ends = [len(records) for records in self.log]
        return all(self.stage.marks(shard) == ends for shard in range(SHARDS))


def _rating(user_id: str, item: int, stars: int, event: int | None = None, redrive: bytes | None = None) -> Said:
    event_id = None if event is None else f"e{event}"
    return Said("rating", user_id, ITEMS[item], stars * QUANTUM // 2, event_id, redrive)


def _record(offset: int, said: Said) -> MemoryRecord:
    if said.kind == "bad":
        return MemoryRecord(offset, BAD[said.number][0])
    if said.kind == "forget":
        event = ForgetEvent(user_id=said.user_id, cut=dict(enumerate(said.cut)))
        return MemoryRecord(offset, encode_forget(event), said.user_id.encode())
    rating = RatingEvent(
        user_id=said.user_id, item_id=said.item_id, rating=said.rating / QUANTUM, event_id=said.event_id
    )
    headers = () if said.redrive is None else ((REDRIVE_HEADER, said.redrive),)
    return MemoryRecord(offset, encode(rating), said.user_id.encode(), headers=headers)
