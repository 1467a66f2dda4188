"""Workers whose every step waits at a door until it is let through, refused or lost: any interleaving can be driven."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import redis
from redis import exceptions

from recommender.ledger.batch import EmbeddedItems
from schemas.codec import RatingDecoder
from schemas.errors import BusUnavailable
from streams.bus.dead_letters import DeadLetter
from streams.store.keys import ShardKeys
from streams.store.scripts import ASSIGN, BREAKER, COMMIT, FORGET, READ, Script
from streams.store.writer import StateWriter
from streams.worker.apply import BatchApplier
from streams.worker.claim import Claimer
from streams.worker.runner import PartitionRunner
from tests.streams.worker.memory import MemoryLog, MemoryRecord

TOPIC_ID = "T"
SCRIPTS: tuple[Script, ...] = (ASSIGN, READ, COMMIT, FORGET, BREAKER)
CACHE_BYTES = (1_000_000, 2_000, 0)
"""What workers keep of the ledgers they read: all, some, nothing."""
GUARDED = ("commit", "forget", "breaker")
SPINS = 12
"""Passes of the event loop without a new call after which every worker is taken to stand at the door."""


@dataclass(slots=True, eq=False)
class Call:
    """One step of a worker, standing at the door.

    Attributes:
        worker: whose.
        name: ``fetch``, ``letters``, a script's name, or a command of the store.
        arguments: of the command.
        run: does it; a fetch takes how many records.
        answer: what the worker waits for.
    """

    worker: int
    name: str
    arguments: tuple[Any, ...]
    run: Callable[..., Any]
    answer: asyncio.Future[Any]

    @property
    def is_store(self) -> bool:
        return self.name not in {"fetch", "letters"}


class Door:
    """Where every step of every worker waits, in the order it came."""

    def __init__(self) -> None:
        self.waiting: list[Call] = []
        self.calls = 0

    async def wait(self, worker: int, name: str, arguments: tuple[Any, ...], run: Callable[..., Any]) -> Any:
        call = Call(worker, name, arguments, run, asyncio.get_running_loop().create_future())
        self.waiting.append(call)
        self.calls += 1
        try:
            return await call.answer
        finally:
            with suppress(ValueError):
                self.waiting.remove(call)


class GatedStore:
    """The commands of a store as an event loop's client has them; done by a blocking client once let through."""

    def __init__(self, door: Door, worker: int, client: redis.Redis) -> None:
        self._door = door
        self._worker = worker
        self._client = client

    def __getattr__(self, command: str) -> Callable[..., Any]:
        run = getattr(self._client, command)

        async def wait(*arguments: Any) -> Any:
            name = command
            if command == "evalsha":
                name = next(script.name for script in SCRIPTS if script.sha == arguments[0])
            return await self._door.wait(self._worker, name, arguments, partial(run, *arguments))

        return wait


@dataclass
class GatedLog(MemoryLog):
    """A partition as one worker fetches it; the records are shared with the others."""

    door: Door = field(default_factory=Door)
    worker: int = 0

    async def end(self) -> int:
        return len(self.records)

    async def reaches(self, offset: int) -> bool:
        return len(self.records) >= offset

    async def fetch(self, max_records: int, timeout_s: float) -> list[Any]:  # noqa: ARG002 - the port's signature
        return list(await self.door.wait(self.worker, "fetch", (self.partition,), self._take))

    def _take(self, count: int) -> list[MemoryRecord]:
        found = self.records[self.read_from : self.read_from + count]
        self.read_from += len(found)
        return found


class Worker:
    """One process: a writer and an applier, and a runner for each partition it was assigned."""

    def __init__(self, stage: "Stage", number: int) -> None:
        self.number = number
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._stage = stage
        self._writer = StateWriter(
            GatedStore(stage.door, number, stage.client),  # type: ignore[arg-type]
            stage.namespace,
            stage.shards,
            "scale",
            cache_bytes=CACHE_BYTES[number % len(CACHE_BYTES)],
        )
        self._applier = BatchApplier(self._writer, RatingDecoder(0.5, 5), self._send, lambda: stage.items, len)

    def is_running(self, partition: int) -> bool:
        return partition in self.tasks and not self.tasks[partition].done()

    def take(self, partition: int) -> None:
        """Assign a partition to this worker; whoever has it is not told."""
        stage = self._stage
        source = GatedLog(stage.logs[partition], partition=partition, door=stage.door, worker=self.number)
        runner = PartitionRunner(
            Claimer(self._writer, "ratings", _topic_id), self._applier, _confirm, _on_batch, stage.failures.append
        )
        self.tasks[partition] = stage.loop.create_task(runner.run(source))

    async def end(self) -> None:
        """Die where it stands."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def _send(self, letters: Sequence[DeadLetter]) -> None:
        await self._stage.door.wait(self.number, "letters", (), partial(self._stage.letters.extend, letters))


class Stage:
    """The logs, the store's keys of one namespace, and the workers.

    Args:
        client: a blocking client of the store.
        namespace: whose keys are this stage's own.
        partitions: of the log.
        shards: of the state.
        workers: how many there are.
        items: vectors to fold with.
    """

    def __init__(
        self, client: redis.Redis, namespace: str, partitions: int, shards: int, workers: int, items: EmbeddedItems
    ) -> None:
        self.client = client
        self.namespace = namespace
        self.shards = shards
        self.items = items
        self.loop = asyncio.new_event_loop()
        self.door = Door()
        self.logs: list[list[MemoryRecord]] = [[] for _ in range(partitions)]
        self.letters: list[DeadLetter] = []
        self.failures: list[BaseException] = []
        self.late: list[Call] = []
        self.workers = [Worker(self, number) for number in range(workers)]
        for script in SCRIPTS:
            client.script_load(script.body)

    def settle(self) -> None:
        """Let the workers go on until each stands at the door."""
        self.loop.run_until_complete(self._settle())

    async def _settle(self) -> None:
        still, known = 0, self.door.calls
        while still < SPINS:
            await asyncio.sleep(0)
            still, known = (still + 1, known) if known == self.door.calls else (0, self.door.calls)
        for worker in self.workers:
            running = sum(not task.done() for task in worker.tasks.values())
            assert running <= sum(call.worker == worker.number for call in self.door.waiting), "SPINS is too low"

    def let(self, call: Call, *arguments: Any) -> Any:
        """Do a call and hand its answer over."""
        answer = call.run(*arguments)
        self.answer(call, answer)
        return answer

    def answer(self, call: Call, answer: Any) -> None:
        call.answer.set_result(answer)
        self.settle()

    def lose(self, call: Call) -> None:
        """Let the caller see an error of the network, whatever became of the call."""
        call.answer.set_exception(
            exceptions.ConnectionError("lost") if call.is_store else BusUnavailable("not acknowledged")
        )
        self.settle()

    def crash(self, number: int) -> None:
        """End a worker where it stands and start it again, with nothing assigned."""
        self._end(self.workers[number])
        self.workers[number] = Worker(self, number)

    def _end(self, worker: Worker) -> None:
        self.loop.run_until_complete(worker.end())
        for call in [call for call in self.door.waiting if call.worker == worker.number]:
            call.answer.cancel()  # of a shard that a refusal in another one has left behind
        self.settle()

    def keys(self, shard: int) -> list[bytes]:
        return sorted(self.client.keys(f"{{{self.namespace}:{shard}}}:*"))

    def marks(self, shard: int) -> list[int]:
        """Return the next offset of each partition in a shard, 0 where nothing is known."""
        keys = ShardKeys(self.namespace, shard)
        values = self.client.mget([keys.watermark(TOPIC_ID, partition) for partition in range(len(self.logs))])
        return [int(value.split()[0]) if value else 0 for value in values]

    def dump(self, shard: int) -> dict[bytes, bytes]:
        """Return a shard as it is."""
        keys = self.keys(shard)
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.dump(key)
            return dict(zip(keys, pipe.execute(), strict=True))

    def restore(self, shard: int, kept: dict[bytes, bytes]) -> None:
        """Let a shard go back to what it was: a store that lost its newest writes."""
        with self.client.pipeline() as pipe:
            if keys := self.keys(shard):
                pipe.delete(*keys)
            for key, value in kept.items():
                pipe.restore(key, 0, value)
            pipe.execute()

    def close(self) -> None:
        for worker in self.workers:
            self._end(worker)
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        for shard in range(self.shards):
            if keys := self.keys(shard):
                self.client.delete(*keys)


async def _topic_id() -> str:
    return TOPIC_ID


async def _confirm(topic_id: str, fetched_at: float) -> None:
    """The topic is never another one here."""


def _on_batch(session: Any, records: Any, done: Any, seconds: float) -> None:
    """Nobody is told."""
