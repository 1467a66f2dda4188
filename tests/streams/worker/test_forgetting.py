"""Users forgotten: by the worker on a real store, beside a state that never had what was forgotten."""

import asyncio
import random
from contextlib import asynccontextmanager
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from recommender.hashing import hash_id
from recommender.ledger import LastEvent, Ledger, apply_event, entries, unpack
from recommender.ledger.batch import EmbeddedItems
from schemas.codec import RatingDecoder
from schemas.errors import Fenced, GenerationChanged, OffsetMoved, RevisionConflict
from schemas.forget import ForgetEvent, encode_forget
from services.admin.digest import state_digest
from services.lab.digest import expected_digest
from streams.store import writer as writer_module
from streams.store.clients import make_async_client, make_client
from streams.store.keys import ShardKeys, forgotten_field, item_field, statistics_bucket
from streams.store.reader import StateReader
from streams.store.scripts import COMMIT, FORGET
from streams.store.statistics import StatisticsFollower
from streams.store.writer import DELTA, StateWriter
from streams.worker import apply as apply_module
from streams.worker.apply import BatchApplier
from streams.worker.batches import BadRecord
from streams.worker.claim import Claimer
from streams.worker.forgetting import Forgetting, plan_forget, take_forgets
from tests.streams.store.mutants import NO_FENCE, NO_FORGETS, NO_GENERATION, NO_OFFSET, NO_OWNER, without
from tests.streams.worker.memory import MemoryLog, MemoryRecord, rating

pytestmark = pytest.mark.integration

NO_ITEMS = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))
ITEMS = list("abcdef")


def forget(offset, user="u", **cut):
    value = encode_forget(ForgetEvent(user_id=user, cut={int(p[1:]): at for p, at in cut.items()}))
    return MemoryRecord(offset, value, user.encode())


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(apply_module, "STORE_RETRY_S", 0.001)


@pytest.fixture
def bench(store, make_settings):
    """A maker of a worker without the runner around it, on any number of partitions."""

    @asynccontextmanager
    async def make(shards=1):
        settings = make_settings(redis_url=store.url, shards=shards)
        client = make_async_client(settings)
        letters = []
        writer = StateWriter(client, settings.namespace, shards, settings.rating_scale)

        async def send(sent):
            letters.extend(sent)

        async def topic_id():
            return "T"

        applier = BatchApplier(writer, RatingDecoder(0.5, 5), send, lambda: NO_ITEMS, len)
        claimer = Claimer(writer, "ratings", topic_id)

        async def apply(log, count=2048):
            session = await claimer.claim(log)
            left = [record for record in log.records if record.offset >= session.position]
            for begin in range(0, len(left), count):
                await applier.apply(session, left[begin : begin + count])

        async def t(user="u"):
            value = await client.get(ShardKeys(settings.namespace, hash_id(user) % shards).ledger(user))
            return 0 if value is None else unpack(value).t

        def digest():
            with make_client(settings) as blocking:
                return state_digest(blocking, settings, ITEMS)

        async def wipe():
            await client.delete(*await client.keys(f"{{{settings.namespace}:*"))

        try:
            yield SimpleNamespace(
                apply=apply,
                t=t,
                digest=digest,
                wipe=wipe,
                letters=letters,
                writer=writer,
                client=client,
                settings=settings,
            )
        finally:
            await client.aclose()

    return make


def log_of(*records, partition=0):
    log = MemoryLog(partition=partition)
    log.add(*records)
    return log


def expected(*ratings):
    found = expected_digest(ratings)
    return (found.state, found.statistics, found.users, len(ratings))


@pytest.mark.parametrize("count", [1, 3, 2048])
@pytest.mark.parametrize("shards", [1, 3])
def test_state_is_that_of_a_log_without_what_was_forgotten(bench, count, shards):
    draw = random.Random(3)
    ratings = [(draw.choice("uvw"), draw.choice(ITEMS), draw.randint(1, 10) / 2) for _ in range(300)]
    records = [rating(i, *one) for i, one in enumerate(ratings)]
    records.insert(200, forget(0, p0=200))
    for offset, record in enumerate(records):
        record.offset = offset

    async def scenario():
        async with bench(shards) as seen:
            await seen.apply(log_of(*records), count)
            return seen.digest(), seen.letters

    left = [one for i, one in enumerate(ratings) if one[0] != "u" or i >= 200]
    assert asyncio.run(scenario()) == (expected(*left), [])


def test_ratings_after_it_start_a_new_ledger_and_a_replay_does_not_bring_the_user_back(bench):
    async def scenario():
        log = log_of(rating(0, item="a"), rating(1, item="b"), forget(2, p0=2), rating(3, item="c", stars=2.0))
        async with bench() as seen:
            await seen.apply(log)
            once = seen.digest()
            await seen.wipe()
            await seen.apply(log, 1)
            return once, seen.digest()

    assert asyncio.run(scenario()) == (expected(("u", "c", 2.0)),) * 2


def test_user_of_several_partitions_is_forgotten_by_the_first_and_not_brought_back_by_the_others(bench):
    """Partition 1 is ahead: its forget event comes before partition 0 has said what the user rated there."""

    async def scenario():
        first = log_of(rating(0, item="a"), rating(1, item="b"), forget(2, p0=2, p1=1))
        second = log_of(rating(0, item="c"), forget(1, p0=2, p1=1), rating(2, item="d", stars=3.0), partition=1)
        async with bench() as seen:
            await seen.apply(second)
            await seen.apply(first, 1)
            return seen.digest()

    assert asyncio.run(scenario()) == expected(("u", "d", 3.0))


def test_without_the_cut_the_other_partitions_bring_the_user_back(bench):
    async def scenario():
        first = log_of(rating(0, item="a"), forget(1, p0=1, p1=1))
        second = log_of(rating(0, item="c"), forget(1, p0=1, p1=1), rating(2, item="d"), partition=1)
        async with bench() as seen:
            await seen.apply(second)
            with patch.object(apply_module, "cuts_here", lambda *_: {}):
                await seen.apply(log_of(*first.records[:1]))
            return await seen.t()

    assert asyncio.run(scenario()) == 2


def test_rating_between_the_look_at_the_end_and_the_record_is_forgotten_whichever_partition_is_first(bench):
    async def scenario(partitions):
        logs = {
            0: log_of(rating(0, item="a"), rating(1, item="b"), forget(2, p0=1, p1=0), rating(3, item="e")),
            1: log_of(forget(0, p0=1, p1=0), partition=1),
        }
        async with bench() as seen:
            for partition in partitions:
                await seen.apply(logs[partition], 1)
            return seen.digest()

    assert asyncio.run(scenario((0, 1))) == asyncio.run(scenario((1, 0))) == expected(("u", "e", 4.0))


def test_late_record_of_another_partition_leaves_the_new_ledger(bench):
    async def scenario():
        async with bench() as seen:
            await seen.apply(log_of(rating(0), forget(1, p0=1, p1=5), rating(2, item="e")))
            await seen.apply(log_of(rating(0, user="w", item="a"), forget(7, p0=1, p1=5), partition=1))
            return seen.digest()

    assert asyncio.run(scenario()) == expected(("u", "e", 4.0), ("w", "a", 4.0))


def test_user_forgotten_twice_is_gone_twice(bench):
    async def scenario():
        async with bench() as seen:
            await seen.apply(log_of(rating(0), forget(1, p0=1), rating(2), forget(3, p0=3)))
            return await seen.t(), seen.digest()

    assert asyncio.run(scenario()) == (0, expected())


def test_user_nothing_is_known_of_can_be_forgotten_and_what_is_kept_does_not_name_the_user(bench):
    async def scenario():
        async with bench() as seen:
            await seen.apply(log_of(forget(0, user="secret", p0=0)))
            keys = await seen.client.keys(f"{{{seen.settings.namespace}:*")
            kept = await seen.client.hgetall(ShardKeys(seen.settings.namespace, 0).forgotten)
            return keys, kept

    keys, kept = asyncio.run(scenario())
    assert not any(b"secret" in key for key in keys)
    assert {len(field): value for field, value in kept.items()} == {32: b'{"T":{"0":1}}', 0: b"1"}


def test_topic_made_again_starts_without_cuts(bench):
    async def scenario():
        async with bench() as seen:
            await seen.apply(log_of(forget(5, p0=5)))
            kept = await seen.client.hgetall(ShardKeys(seen.settings.namespace, 0).forgotten)
            stored = kept[forgotten_field("u")]
            return apply_module.cuts_here({"u": stored}, "T", 0), apply_module.cuts_here({"u": stored}, "other", 0)

    assert asyncio.run(scenario()) == ({"u": 6}, {"u": 0})


def test_reader_of_statistics_follows_what_is_taken_away(bench):
    async def scenario():
        async with bench() as seen:
            await seen.apply(log_of(rating(0, item="a"), rating(1, user="v", item="a", stars=2.0)))
            with make_client(seen.settings) as client:
                reader = StateReader(client, seen.settings.namespace, 1, "T", 1)
                followed = StatisticsFollower(client, reader)
                followed.follow()
                before = followed.counts[hash_id("a")], followed.sums[hash_id("a")]
                log = log_of(rating(0), rating(1), forget(2, p0=2))
                await seen.apply(log)
                followed.follow()
                return before, (followed.counts[hash_id("a")], followed.sums[hash_id("a")])

    assert asyncio.run(scenario()) == ((2, 60000), (1, 20000))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"type":"forget","cut":{}}', "missing_field"),
        (b'{"type":"forget","user_id":"u"}', "missing_field"),
        (b'{"type":"forget","user_id":"","cut":{}}', "bad_id"),
        (b'{"type":"forget","user_id":"u","cut":[]}', "wrong_type"),
        (b'{"type":"forget","user_id":"u","cut":{"x":1}}', "wrong_type"),
        (b'{"type":"forget","user_id":"u","cut":{"0":-1}}', "wrong_type"),
        (b'{"type":"forget","user_id":"u","cut":{"0":true}}', "wrong_type"),
        (b'{"type":"forget","user_id":"u","cut":{},"v":2}', "unknown_version"),
        (b'{"type":"other","user_id":"u"}', "old"),
        (b"rubbish", "old"),
    ],
)
def test_event_that_breaks_the_contract_is_bad_with_its_reason(value, reason):
    forgets, bad = take_forgets([BadRecord(MemoryRecord(0, value), "old")])
    assert (forgets, [fault.reason for fault in bad]) == ([], [reason])


def ledger_of(partition, *items):
    ledger = Ledger.empty(0)
    for offset, item in enumerate(items):
        at = LastEvent(hash_id("T"), partition, offset)
        ledger = apply_event(ledger, item=hash_id(item), rating=10000, event=0, at=at, x=None)
    return ledger


def test_cut_beyond_the_record_itself_counts_only_up_to_the_record():
    one = Forgetting(MemoryRecord(7, None), ForgetEvent(user_id="u", cut={0: 10**9}))
    plan = plan_forget(one, ledger_of(0, "a", "a"), b"", topic_id="T", partition=0)
    assert (plan.removes, plan.cuts) == (True, b'{"T":{"0":8}}')
    assert plan.deltas.tolist() == [(hash_id("a"), -2, -20000)]


# Each guard of the script: a scenario that it refuses, and that goes wrong without it.


async def prepare(seen):
    await seen.apply(log_of(rating(0, item="a")))
    claim, start = await seen.writer.assign(0, "T", 0, "me", None)
    return claim, start, await seen.writer.read_ledger(claim, "u")


async def forget_as_read(seen, claim, expected_offset, value, stored=b"", cuts=b'{"T":{"0":2}}'):
    deltas = np.array([(item, -count, -total) for item, count, _, total in entries(unpack(value)).tolist()], DELTA)
    await seen.writer.forget(
        claim,
        expected_offset,
        expected_offset + 1,
        "u",
        revision=value[:16],
        removes=True,
        stored_cuts=stored,
        cuts=cuts,
        deltas=deltas,
    )


async def count_of(seen, claim):
    item = hash_id("a")
    return int(await seen.client.hget(claim.keys.statistics(statistics_bucket(item)), item_field(item) + b"c") or 0)


async def sent_twice(seen):
    claim, start, value = await prepare(seen)
    await forget_as_read(seen, claim, start, value)
    await forget_as_read(seen, claim, start, value)
    return await count_of(seen, claim) == 0


async def zombie(seen):
    claim, start, value = await prepare(seen)
    await seen.writer.assign(0, "T", 0, "you", None)
    await forget_as_read(seen, claim, start, value)
    return await seen.t() == 1


async def owner_of_a_fence_given_twice(seen):
    claim, start, value = await prepare(seen)
    await seen.client.set(claim.watermark, f"{start} {claim.fence} you 0")
    await forget_as_read(seen, claim, start, value)
    return await seen.t() == 1


async def rated_in_between(seen):
    claim, start, value = await prepare(seen)
    await seen.apply(log_of(rating(0, item="a"), partition=1))
    await forget_as_read(seen, claim, start, value)
    return await seen.t() == await count_of(seen, claim)


async def cut_in_between(seen):
    claim, start, value = await prepare(seen)
    await seen.client.hset(claim.keys.forgotten, writer_module.forgotten_field("u"), b'{"T":{"1":9}}')
    await forget_as_read(seen, claim, start, value)
    return b'"1":9' in (await seen.writer.cuts(claim, ["u"]))["u"]


async def flipped_in_between(seen):
    claim, start, value = await prepare(seen)
    await seen.client.set(claim.keys.live_generation, 2)
    await forget_as_read(seen, claim, start, value)
    return await seen.t() == 1


NO_REVISION = (("redis.call('GETRANGE', KEYS[6], 0, 15) ~= ARGV[6]", "false"),)
NO_CUTS = (("(redis.call('HGET', KEYS[5], ARGV[11]) or '') ~= ARGV[12]", "false"),)

GUARDS = {
    "OFFSET": (sent_twice, OffsetMoved, (*NO_OFFSET, *NO_REVISION, *NO_CUTS)),
    "FENCE": (zombie, Fenced, NO_FENCE),
    "OWNER": (owner_of_a_fence_given_twice, Fenced, NO_OWNER),
    "REV": (rated_in_between, RevisionConflict, NO_REVISION),
    "CUTS": (cut_in_between, RevisionConflict, NO_CUTS),
    "GEN": (flipped_in_between, GenerationChanged, NO_GENERATION),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_each_guard_refuses_what_would_corrupt_state(guard, bench):
    scenario, refusal, _ = GUARDS[guard]

    async def run():
        async with bench() as seen:
            with pytest.raises(refusal):
                await scenario(seen)

    asyncio.run(run())


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_the_state_goes_wrong(guard, bench):
    scenario, _, changes = GUARDS[guard]

    async def run():
        async with bench() as seen:
            return await scenario(seen)

    with patch.object(writer_module, "FORGET", without(FORGET, *changes)):
        assert asyncio.run(run()) is False


async def forgotten_while_another_partition_stands_at_the_door(bench):
    """Partition 1 has read that there is no such user when partition 0 has the user forgotten, who then rates anew."""
    async with bench() as seen:
        read, early = seen.writer.read, log_of(forget(0, p0=0, p1=1))

        async def read_then_forget(*arguments):
            reading = await read(*arguments)
            seen.writer.read = read
            await seen.apply(early)
            return reading

        seen.writer.read = read_then_forget
        late = log_of(rating(0, item="b"), partition=1)
        await seen.apply(late)
        early.add(rating(1))
        await seen.apply(early)
        late.add(forget(1, p0=0, p1=1))
        await seen.apply(late)
        return await seen.t()


def test_user_forgotten_after_a_batch_of_another_partition_was_read_stays_forgotten(bench):
    assert asyncio.run(forgotten_while_another_partition_stands_at_the_door(bench)) == 1


def test_without_the_number_of_forget_events_what_was_forgotten_comes_back(bench, monkeypatch):
    monkeypatch.setattr(writer_module, "COMMIT", without(COMMIT, *NO_FORGETS))
    assert asyncio.run(forgotten_while_another_partition_stands_at_the_door(bench)) == 2


# Mutations of the plan: each rule taken out, and the scenario that needs it.


def never_a_repeat(stored):
    return {}


async def late_partition_after_a_new_rating(bench):
    async with bench() as seen:
        await seen.apply(log_of(rating(0), forget(1, p0=1, p1=5), rating(2, item="e")))
        await seen.apply(log_of(forget(7, p0=1, p1=5), partition=1))
        return await seen.t()


async def rating_before_its_own_record(bench):
    async with bench() as seen:
        await seen.apply(log_of(forget(0, p0=1, p1=0), partition=1))
        await seen.apply(log_of(rating(0), rating(1), forget(2, p0=1, p1=0)), 1)
        return await seen.t()


def test_without_telling_a_repeat_a_late_partition_takes_the_new_ledger(bench):
    assert asyncio.run(late_partition_after_a_new_rating(bench)) == 1
    with patch("streams.worker.forgetting.read_cuts", never_a_repeat):
        assert asyncio.run(late_partition_after_a_new_rating(bench)) == 0


def test_without_looking_where_the_newest_rating_lies_one_before_the_record_stays(bench):
    assert asyncio.run(rating_before_its_own_record(bench)) == 0
    with patch("streams.worker.forgetting.hash_id", lambda _: 0):
        assert asyncio.run(rating_before_its_own_record(bench)) == 1


def test_lost_reply_of_the_script_is_resolved_from_the_watermark(bench):
    async def scenario():
        async with bench() as seen:
            original, calls = seen.writer.forget, []

            async def loses_its_reply(*arguments, **named):
                calls.append(named["removes"])
                await original(*arguments, **named)
                raise apply_module.StoreUnavailable("lost")

            with patch.object(seen.writer, "forget", loses_its_reply):
                await seen.apply(log_of(rating(0), forget(1, p0=1), rating(2, item="e")))
            return calls, seen.digest()

    assert asyncio.run(scenario()) == ([True], expected(("u", "e", 4.0)))


def test_rating_of_another_partition_in_between_is_read_again(bench):
    async def scenario():
        async with bench() as seen:
            await seen.apply(log_of(rating(0)))
            original, once = seen.writer.cuts, []

            async def cuts(*arguments):
                if not once:
                    once.append(1)
                    await seen.apply(log_of(rating(0, item="b"), partition=1))
                return await original(*arguments)

            with patch.object(seen.writer, "cuts", cuts):
                await seen.apply(log_of(rating(0), forget(1, p0=1, p1=1)))
            return seen.digest()

    assert asyncio.run(scenario()) == expected()
