"""Ledgers of idle users are made smaller in the background, and nothing else of the state changes."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from redis.exceptions import ResponseError

from recommender.hashing import hash_id
from recommender.ledger import LastEvent, Ledger, apply_event, entries, pack, unpack
from recommender.ledger.batch import EmbeddedItems
from schemas.codec import RatingDecoder
from schemas.errors import Fenced, OffsetMoved, StoreUnavailable
from services.admin.ledgers import every_ledger
from services.runtime.engines import start_store
from streams.store.clients import make_async_client, make_client
from streams.store.writer import StateWriter
from streams.worker import idle as idle_module
from streams.worker.apply import BatchApplier
from streams.worker.idle import IdleFolder
from streams.worker.session import Session
from tests.streams.worker.memory import rating

pytestmark = pytest.mark.integration

NO_ITEMS = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))
TOPIC = "topic-1"


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    """A store without the keys of other tests: a walk is over every key, and how it is cut into steps counts."""
    with start_store(tmp_path_factory.mktemp("store")) as engine:
        yield engine


@pytest.fixture
def place(own_store, make_settings):
    """A maker of a claimed partition: writer, session, applier, folder and a clock set by hand."""
    settings = make_settings(redis_url=own_store.url)
    with make_client(settings) as client:
        client.flushall()

    @asynccontextmanager
    async def make(partition=0, idle_s=0, owner="me", shards=1):
        client = make_async_client(settings)
        writer = StateWriter(client, settings.namespace, shards, "scale")
        taken = [await writer.assign(shard, TOPIC, partition, owner, 0) for shard in range(shards)]
        session = Session.begin("ratings", TOPIC, partition, taken)
        now = SimpleNamespace(s=0.0)

        async def send(letters):
            assert not letters

        try:
            yield SimpleNamespace(
                client=client,
                writer=writer,
                session=session,
                claim=session.claims[0],
                applier=BatchApplier(writer, RatingDecoder(0.5, 5), send, lambda: NO_ITEMS, len),
                folder=IdleFolder(writer, idle_s, lambda: now.s),
                now=now,
                settings=settings,
            )
        finally:
            await client.aclose()

    return make


def ledger_of(items, events=None) -> Ledger:
    """Somebody who rated the items one after the other, with event ids where given."""
    ledger = Ledger.empty(0, rev=7)
    for offset, item in enumerate(items):
        event = 0 if events is None else events[offset]
        ledger = apply_event(ledger, item=item, rating=40000, event=event, at=LastEvent(1, 0, offset), x=None)
    return ledger


async def step(here) -> None:
    here.now.s += 1
    await here.folder.step(here.session)


async def walk(here) -> None:
    """Take steps until every user of a shard was looked at; other tests' keys lie between them."""
    shard = here.folder._walk.shard
    async with asyncio.timeout(30):
        while here.folder._walk.shard == shard:
            await step(here)


async def read(here, user) -> Ledger:
    return unpack(await here.client.get(here.claim.keys.ledger(user)))


def test_tail_of_an_idle_user_is_folded_and_the_state_says_the_same(place):
    before = ledger_of([hash_id(f"i{n % 5}") for n in range(60)])

    async def scenario():
        async with place() as here:
            await here.client.set(here.claim.keys.ledger("u"), pack(before))
            mark = await here.writer.watermark(here.claim)
            await walk(here)
            return await read(here, "u"), mark, await here.writer.watermark(here.claim)

    after, mark, mark_after = asyncio.run(scenario())
    assert (len(after.base), len(after.tail)) == (5, 32)
    assert after.rev > before.rev
    assert (after.t, after.last, after.unembedded) == (before.t, before.last, before.unembedded)
    np.testing.assert_array_equal(entries(after), entries(before))
    np.testing.assert_array_equal(after.tail, before.tail[-32:])
    assert (mark.next_offset, mark.fence) == (mark_after.next_offset, mark_after.fence)


@pytest.mark.parametrize("seen", [20, 2000])
def test_allocation_that_appending_made_too_long_is_given_back(place, seen):
    ledger = ledger_of(range(1, seen + 1))

    async def scenario():
        async with place() as here:
            key, value = here.claim.keys.ledger("u"), pack(ledger)
            await here.client.set(key, value[:-20])
            await here.client.append(key, value[-20:])
            loose = await here.client.memory_usage(key)
            await walk(here)
            return len(value), loose, await here.client.memory_usage(key), await read(here, "u")

    length, loose, tight, after = asyncio.run(scenario())
    assert loose > 1.8 * length
    assert tight < 1.25 * length + 128
    np.testing.assert_array_equal(entries(after), entries(ledger))


def test_ledger_that_folding_would_not_make_smaller_is_left_alone(place):
    value = pack(ledger_of(range(60)))

    async def scenario():
        async with place() as here:
            await here.client.set(here.claim.keys.ledger("u"), value)
            await walk(here)
            return await here.client.get(here.claim.keys.ledger("u"))

    assert asyncio.run(scenario()) == value


@pytest.mark.parametrize("distance", range(30, 66, 5))
@pytest.mark.parametrize("t", [50, 64, 65, 90, 97])
def test_repeat_is_found_as_if_nothing_had_been_folded(place, t, distance):
    ids = [0] * t
    if distance <= t:
        ids[-distance] = hash_id("again")
    ledger = ledger_of([hash_id("i")] * t, ids)
    repeat = rating(0, "u", "i", 4.0, "again")

    async def scenario(folds):
        async with place(owner=f"folds {folds}".replace(" ", "-")) as here:
            await here.client.set(here.claim.keys.ledger("u"), pack(ledger))
            if folds:
                await walk(here)
                has_id = 32 < distance <= len(ledger.tail)
                assert len((await read(here, "u")).tail) == (distance if has_id else min(32, len(ledger.tail)))
            here.session.next_offsets[:] = [0]
            done = await here.applier.apply(here.session, [repeat])
            await here.client.delete(here.claim.watermark)
            return done.repeats

    plain = asyncio.run(scenario(folds=False))
    assert asyncio.run(scenario(folds=True)) == plain


def test_write_that_comes_between_wins_and_the_others_are_folded(place):
    before = pack(ledger_of([hash_id("i")] * 60))

    async def scenario():
        async with place() as here:
            for user in ("u", "v", "w"):
                await here.client.set(here.claim.keys.ledger(user), before)
            found = here.writer.read_idle

            async def read_then_write(*arguments):
                reply = await found(*arguments)
                async with place(partition=1, owner="other") as other:
                    await other.applier.apply(other.session, [rating(0, "v", "new")])
                return reply

            here.writer.read_idle = read_then_write
            await walk(here)
            return [await read(here, user) for user in ("u", "v", "w")]

    u, v, w = asyncio.run(scenario())
    assert (v.t, v.tail["item"][-1], len(v.tail)) == (61, hash_id("new"), 61)
    assert (len(u.tail), len(w.tail), u.t, w.t) == (32, 32, 60, 60)


def test_fold_of_a_worker_that_was_fenced_writes_nothing(place):
    before = pack(ledger_of([hash_id("i")] * 60))

    async def scenario():
        async with place() as here, place(owner="newer") as newer:
            await here.client.set(here.claim.keys.ledger("u"), before)
            with pytest.raises(Fenced):
                await walk(here)
            assert await here.client.get(here.claim.keys.ledger("u")) == before
            await walk(newer)
            return len((await read(here, "u")).tail)

    assert asyncio.run(scenario()) == 32


def test_fold_after_the_watermark_moved_elsewhere_writes_nothing(place):
    before = pack(ledger_of([hash_id("i")] * 60))

    async def scenario():
        async with place() as here:
            await here.client.set(here.claim.keys.ledger("u"), before)
            await here.writer.commit(here.claim, 0, 5)
            with pytest.raises(OffsetMoved):
                await walk(here)
            return await here.client.get(here.claim.keys.ledger("u"))

    assert asyncio.run(scenario()) == before


def test_ledger_touched_lately_is_left_alone(place):
    before = pack(ledger_of([hash_id("i")] * 60))

    async def scenario():
        async with place(idle_s=3600) as here:
            await here.client.set(here.claim.keys.ledger("u"), before)
            await walk(here)
            return await here.client.get(here.claim.keys.ledger("u"))

    assert asyncio.run(scenario()) == before


@pytest.mark.parametrize("most_bytes", [1, 5000])
@pytest.mark.parametrize("shards", [1, 2])
def test_walk_reaches_every_user_in_steps_of_bounded_size(place, shards, most_bytes):
    async def scenario():
        with patch.object(idle_module, "USERS_A_STEP", 8), patch.object(idle_module, "BYTES_A_STEP", most_bytes):
            async with place(shards=shards) as here:
                value = pack(ledger_of([hash_id("i")] * 60))
                for number in range(30):
                    user = f"u{number}"
                    claim = here.session.claims[hash_id(user) % shards]
                    await here.client.set(claim.keys.ledger(user), value)
                commits = []
                commit = here.writer.commit

                async def note(claim, expected, new, user_ids=(), writes=(), *rest):
                    commits.append(sum(len(value) for _ in writes))
                    await commit(claim, expected, new, user_ids, writes, *rest)

                here.writer.commit = note
                async with asyncio.timeout(30):
                    client = make_client(here.settings)
                    settings = here.settings.model_copy(update={"shards": shards})
                    while any(len(ledger.tail) > 32 for _, ledger in every_ledger(client, settings)):
                        await step(here)
                    client.close()
                return commits, len(value)

    commits, length = asyncio.run(scenario())
    assert max(commits) <= max(most_bytes, length)
    assert sum(commits) == 30 * length


def test_steps_keep_a_pause_and_only_partition_0_takes_them(place):
    async def scenario(partition, steps_at):
        async with place(partition=partition) as here:
            calls = []
            scan = here.writer.scan_users

            async def note(*arguments):
                calls.append(here.now.s)
                return await scan(*arguments)

            here.writer.scan_users = note
            for at in steps_at:
                here.now.s = at
                await here.folder.step(here.session)
            return calls

    assert asyncio.run(scenario(0, [10.0, 10.1, 10.2, 10.25, 10.3])) == [10.0, 10.25]
    assert asyncio.run(scenario(1, [10.0, 11.0])) == []


def test_ledger_that_cannot_be_read_does_not_stop_the_others(place):
    async def scenario():
        async with place() as here:
            newer = b"\x02" + pack(ledger_of([hash_id("i")] * 60))[1:]
            await here.client.set(here.claim.keys.ledger("newer"), newer)
            await here.client.set(here.claim.keys.ledger("u"), pack(ledger_of([hash_id("i")] * 60)))
            await walk(here)
            assert await here.client.get(here.claim.keys.ledger("newer")) == newer
            return len((await read(here, "u")).tail)

    assert asyncio.run(scenario()) == 32


@pytest.mark.parametrize(("error", "tries"), [(StoreUnavailable("away"), 2), (ResponseError("NOPERM"), 1)])
def test_store_that_is_away_is_asked_again_and_one_that_refuses_is_not(place, error, tries):
    async def scenario():
        async with place() as here:
            calls = []

            async def fail(*arguments):
                calls.append(arguments)
                raise error

            here.writer.scan_users = fail
            await step(here)
            await step(here)
            return len(calls)

    assert asyncio.run(scenario()) == tries
