"""The guarded scripts on a real store, and that each guard is needed: without it the same scenario goes wrong."""

import asyncio
import socket
import threading
from contextlib import asynccontextmanager, suppress
from unittest.mock import patch

import numpy as np
import pytest

from recommender.ledger import EVENT, LastEvent, Ledger, apply_event, pack, unpack
from recommender.ledger.batch import EmbeddedItems, EventBatch, fold_batch
from schemas.errors import (
    Fenced,
    GenerationChanged,
    OffsetMoved,
    Refusal,
    RevisionConflict,
    StateMismatch,
    StoreUnavailable,
    TopicReplaced,
)
from services.runtime.engines import start_store
from streams.store import writer as module
from streams.store.calls import as_unavailable
from streams.store.clients import make_async_client, make_client
from streams.store.scripts import COMMIT
from streams.store.writer import DELTA, Claim, StateWriter, Watermark
from tests.next_layout import NEXT
from tests.streams.store.mutants import NO_FENCE, NO_GENERATION, NO_OFFSET, NO_OWNER, NO_REVISION, without

pytestmark = pytest.mark.integration

NO_ITEMS = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))
TOPIC = "topic-1"


@pytest.fixture
def writer_of(store, make_settings):
    settings = make_settings(redis_url=store.url)

    @asynccontextmanager
    async def make(scale="ratings 0.5 to 5", **how):
        client = make_async_client(settings)
        try:
            yield StateWriter(client, settings.namespace, 1, scale, **how), client
        finally:
            await client.aclose()

    return make


async def apply(writer: StateWriter, claim: Claim, expected: int, users: list[str], before_commit=None) -> None:
    """One event of item 5 for each user, committed as offsets ``expected`` to ``expected + len(users)``."""
    stored = (await writer.read(claim, users, [1] * len(users), NO_ITEMS)).ledgers
    end = expected + len(users)
    batch = EventBatch(
        np.arange(len(users)),
        np.array([(5, 30000, 0)] * len(users), EVENT),
        np.arange(expected, end, dtype=np.uint64),
    )
    folded = fold_batch(batch, stored, np.full(len(users), 1000, np.uint64), 1, 0, NO_ITEMS)
    deltas = np.array([(5, len(users), 30000 * len(users))], DELTA)
    if before_commit is not None:
        await before_commit()
    await writer.commit(claim, expected, end, users, folded.writes, deltas)


async def ratings_of(client, claim: Claim, user: str) -> int:
    value = await client.get(claim.keys.ledger(user))
    return 0 if value is None else unpack(value).t


def test_commit_writes_ledger_statistics_delta_and_watermark(writer_of):
    async def scenario():
        async with writer_of() as (writer, client):
            claim, start = await writer.assign(0, TOPIC, 0, "me", 0)
            await apply(writer, claim, start, ["u", "v"])
            await apply(writer, claim, 2, ["u"])
            mark = await writer.watermark(claim)
            bucket = await client.hgetall(claim.keys.statistics(5))
            deltas = await client.xrange(claim.keys.deltas)
            return mark, await ratings_of(client, claim, "u"), bucket, deltas

    mark, t, bucket, deltas = asyncio.run(scenario())
    assert (mark.next_offset, mark.fence, mark.owner, t) == (3, 1, "me", 2)
    item = (5).to_bytes(8, "little")
    assert bucket == {item + b"c": b"3", item + b"s": b"90000"}
    assert [entry_id for entry_id, _ in deltas] == [b"1-0", b"2-0"]
    assert np.frombuffer(deltas[0][1][b"d"], DELTA, offset=8).tolist() == [(5, 2, 60000)]


def test_partition_without_watermark_is_told_not_started(writer_of):
    async def scenario():
        async with writer_of() as (writer, _):
            return await writer.assign(0, TOPIC, 0, "me", None)

    assert asyncio.run(scenario()) is None


def test_taking_a_partition_again_keeps_the_offset_and_raises_the_fence(writer_of):
    async def scenario():
        async with writer_of() as (writer, _):
            first, _ = await writer.assign(0, TOPIC, 0, "me", 7)
            return first.fence, await writer.assign(0, TOPIC, 0, "you", 0)

    fence, (claim, next_offset) = asyncio.run(scenario())
    assert (fence, claim.fence, next_offset) == (1, 2, 7)


def test_another_scale_or_topic_is_refused_naming_the_stored_one(writer_of):
    async def scenario():
        async with writer_of() as (writer, _):
            await writer.assign(0, TOPIC, 0, "me", 0)
            with pytest.raises(TopicReplaced, match="topic-1"):
                await writer.assign(0, "topic-2", 0, "me", 0)
        async with writer_of("ratings 1 to 10, 1 shard(s)") as (writer, _):
            with pytest.raises(StateMismatch, match=r"ratings 0.5 to 5"):
                await writer.assign(0, TOPIC, 0, "me", 0)

    asyncio.run(scenario())


def test_accepted_topic_keeps_ledgers_and_starts_anew(writer_of):
    async def scenario():
        async with writer_of() as (writer, client):
            claim, start = await writer.assign(0, TOPIC, 0, "me", 0)
            await apply(writer, claim, start, ["u"])
            await writer.accept_topic(0, "topic-2")
            assert await writer.assign(0, "topic-2", 0, "me", None) is None
            claim, start = await writer.assign(0, "topic-2", 0, "me", 0)
            await apply(writer, claim, start, ["u"])
            return await ratings_of(client, claim, "u")

    assert asyncio.run(scenario()) == 2


def test_store_that_does_not_answer_is_told_from_one_that_refuses(store, make_settings):
    settings = make_settings(redis_url="redis://127.0.0.1:1/0")

    async def scenario():
        client = make_async_client(settings)
        try:
            await StateWriter(client, settings.namespace, 1, "s").generation()
        finally:
            await client.aclose()

    with pytest.raises(StoreUnavailable):
        asyncio.run(scenario())


def serve_and_hang_up(asked: list[bytes]) -> socket.socket:
    """A server that reads one command a connection and drops the connection without a reply."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    received = b""
                    while b"\r\nGET\r\n" not in received and (data := connection.recv(4096)):
                        received += data
                        if b"HELLO" in data:
                            connection.sendall(b"%1\r\n+proto\r\n:3\r\n")
                        connection.sendall(b"+OK\r\n" * data.count(b"CLIENT"))
                    asked.append(received)

    threading.Thread(target=serve, daemon=True).start()
    return server


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_clients_never_send_a_call_twice(make_settings, kind):
    asked = []
    with serve_and_hang_up(asked) as server:
        settings = make_settings(redis_url=f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        if kind == "blocking":
            with make_client(settings) as client, pytest.raises(StoreUnavailable), as_unavailable():
                client.get("key")
        else:

            async def ask():
                client = make_async_client(settings)
                try:
                    await StateWriter(client, settings.namespace, 1, "s").generation()
                finally:
                    await client.aclose()

            with pytest.raises(StoreUnavailable):
                asyncio.run(ask())
    assert len([received for received in asked if b"\r\nGET\r\n" in received]) == 1


@pytest.mark.parametrize(
    ("break_store", "mend_store"),
    [
        ({"maxmemory": "1mb"}, {"maxmemory": "0"}),
        ({"min-replicas-to-write": "1"}, {"min-replicas-to-write": "0"}),
    ],
    ids=["full", "without the replicas it needs"],
)
def test_store_that_cannot_serve_is_away_and_has_written_nothing(tmp_path, make_settings, break_store, mend_store):
    async def scenario(settings):
        client = make_async_client(settings)
        writer = StateWriter(client, settings.namespace, 1, "scale")
        claim, start = await writer.assign(0, TOPIC, 0, "me", 0)
        for name, value in break_store.items():
            await client.config_set(name, value)
        with pytest.raises(StoreUnavailable):
            await apply(writer, claim, start, ["u"])
        for name, value in mend_store.items():
            await client.config_set(name, value)
        before = (await writer.watermark(claim)).next_offset, await ratings_of(client, claim, "u")
        await apply(writer, claim, start, ["u"])
        after = await ratings_of(client, claim, "u")
        await client.aclose()
        return before, after

    with start_store(tmp_path) as own:
        assert asyncio.run(scenario(make_settings(redis_url=own.url))) == ((0, 0), 1)


async def same_batch_twice(writer, client):
    claim, start = await writer.assign(0, TOPIC, 0, "me", 0)
    await apply(writer, claim, start, ["u"])
    await apply(writer, claim, start, ["u"])
    return await ratings_of(client, claim, "u") == 1


async def zombie_goes_on(writer, client):
    claim, start = await writer.assign(0, TOPIC, 0, "me", 0)
    await writer.assign(0, TOPIC, 0, "you", None)
    await apply(writer, claim, start, ["u"])
    return await ratings_of(client, claim, "u") == 0


async def fence_given_twice_by_a_store_that_lost_it(writer, client):
    mine, start = await writer.assign(0, TOPIC, 0, "me", 0)
    yours = Claim(mine.keys, mine.watermark, mine.fence, "you")
    await client.set(mine.watermark, f"0 {mine.fence} you 0")
    await apply(writer, yours, start, [])
    await apply(writer, mine, start, ["u"])
    return await ratings_of(client, mine, "u") == 0


async def another_partition_writes_the_user_in_between(writer, client):
    mine, start = await writer.assign(0, TOPIC, 0, "me", 0)
    yours, _ = await writer.assign(0, TOPIC, 1, "you", 0)
    await apply(writer, mine, start, ["u"], before_commit=lambda: apply(writer, yours, 0, ["u"]))
    return await ratings_of(client, mine, "u") == 2


async def generation_is_flipped_in_between(writer, client):
    claim, start = await writer.assign(0, TOPIC, 0, "me", 0)
    await apply(writer, claim, start, ["u"], before_commit=lambda: client.set(claim.keys.live_generation, 2))
    return await ratings_of(client, claim, "u") == 0


GUARDS = {
    "OFFSET": (same_batch_twice, OffsetMoved, NO_OFFSET),
    "FENCE": (zombie_goes_on, Fenced, NO_FENCE),
    "OWNER": (fence_given_twice_by_a_store_that_lost_it, Fenced, NO_OWNER),
    "REV": (another_partition_writes_the_user_in_between, RevisionConflict, NO_REVISION),
    "GEN": (generation_is_flipped_in_between, GenerationChanged, NO_GENERATION),
}


async def outcome(writer_of, scenario) -> tuple[bool, type[Refusal] | None]:
    """Whether the state stayed right, and which refusal was seen."""
    refusal = None

    async with writer_of() as (writer, client):
        original = writer.commit

        async def commit(*arguments):
            nonlocal refusal
            try:
                await original(*arguments)
            except Refusal as error:
                refusal = type(error)

        with patch.object(writer, "commit", commit):
            return await scenario(writer, client), refusal


@pytest.mark.parametrize("guard", GUARDS)
def test_each_guard_refuses_what_would_corrupt_state(guard, writer_of):
    scenario, refusal, _ = GUARDS[guard]
    is_right, seen = asyncio.run(outcome(writer_of, scenario))
    assert seen is refusal
    # A conflict is the only refusal after which the refused event is still to be applied.
    assert is_right or refusal is RevisionConflict


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_the_state_goes_wrong(guard, writer_of):
    scenario, _, changes = GUARDS[guard]
    with patch.object(module, "COMMIT", without(COMMIT, *changes)):
        is_right, seen = asyncio.run(outcome(writer_of, scenario))
    assert (is_right, seen) == (False, None)


def test_watermark_is_read_as_it_is_written():
    assert Watermark.parse(b"12 3 me 99") == Watermark(12, 3, "me", 99)


@pytest.mark.parametrize("cache_bytes", [0, 5_000, 1_000_000])
@pytest.mark.parametrize("whole_bytes", [0, 700, 2048, 1_000_000])
def test_ledger_read_whole_or_appended_to_is_the_fold_of_its_events(writer_of, monkeypatch, whole_bytes, cache_bytes):
    monkeypatch.setattr(module, "WHOLE_BYTES", whole_bytes)
    draws = np.random.default_rng(5)
    items = draws.integers(1, 150, 400).tolist()

    async def scenario():
        async with writer_of(cache_bytes=cache_bytes) as (writer, client):
            claim, _ = await writer.assign(0, TOPIC, 0, "me", 0)
            done = 0
            while done < len(items):
                end = min(len(items), done + int(draws.integers(1, 8)))
                records = np.array([(item, 30000, 0) for item in items[done:end]], EVENT)
                batch = EventBatch(np.zeros(end - done, np.int64), records, np.arange(done, end, dtype=np.uint64))
                stored = (await writer.read(claim, ["u"], [end - done], NO_ITEMS)).ledgers
                folded = fold_batch(batch, stored, np.zeros(1, np.uint64), 1, 0, NO_ITEMS)
                await writer.commit(claim, done, end, ["u"], folded.writes)
                done = end
            return unpack(await client.get(claim.keys.ledger("u")))

    ledger = Ledger.empty(0)
    for offset, item in enumerate(items):
        ledger = apply_event(ledger, item=item, rating=30000, event=0, at=LastEvent(1, 0, offset), x=None)
    found = asyncio.run(scenario())
    assert (found.t, found.last, found.unembedded) == (400, ledger.last, 400)
    np.testing.assert_array_equal(found.base, ledger.base)
    np.testing.assert_array_equal(found.tail, ledger.tail)


def test_small_ledger_is_written_in_an_allocation_of_its_size(writer_of):
    async def scenario():
        async with writer_of() as (writer, client):
            claim, start = await writer.assign(0, TOPIC, 0, "me", 0)
            for offset in range(20):
                await apply(writer, claim, offset, ["u"])
            key = claim.keys.ledger("u")
            return start, await client.memory_usage(key), len(key) + await client.strlen(key)

    start, usage, length = asyncio.run(scenario())
    assert start == 0
    assert usage <= 1.25 * length + 64


def test_read_stops_before_the_bytes_pass_the_bound_but_not_before_the_first(writer_of, monkeypatch):
    monkeypatch.setattr(module, "READ_BYTES", 200)

    async def scenario():
        async with writer_of(cache_bytes=0) as (writer, _):
            claim, _ = await writer.assign(0, TOPIC, 0, "me", 0)
            await apply(writer, claim, 0, ["u", "v", "w"])
            users = ["new", "u", "v", "w"]
            one_each = [len((await writer.read(claim, users[n:], [1] * (4 - n), NO_ITEMS)).ledgers) for n in range(4)]
            monkeypatch.setattr(module, "READ_BYTES", 10)
            return one_each, len((await writer.read(claim, ["u", "v"], [1, 1], NO_ITEMS)).ledgers)

    # A ledger of one event and no mean is 56 + 20 bytes, so two of them fit into 200.
    assert asyncio.run(scenario()) == ([3, 2, 2, 1], 1)


def test_large_ledger_of_another_layout_is_read_whole(writer_of):
    ledger = Ledger.empty(0)
    for offset in range(90):
        ledger = apply_event(ledger, item=offset, rating=30_000, event=0, at=LastEvent(1, 0, offset), x=None)
    same_header = NEXT + pack(ledger)[len(NEXT) :]
    values = [pack(ledger), same_header]

    async def scenario():
        async with writer_of() as (writer, client):
            claim, _ = await writer.assign(0, TOPIC, 0, "me", 0)
            for user, value in zip("uv", values, strict=True):
                await client.set(claim.keys.ledger(user), value)
            return (await writer.read(claim, ["u", "v"], [1, 1], NO_ITEMS)).ledgers

    present, other = asyncio.run(scenario())
    assert not present.is_whole
    assert (other.is_whole, other.value) == (True, values[1])
