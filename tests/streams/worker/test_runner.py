"""The worker's topology on a log in memory, driven by hand, and a real store."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import structlog
from aiokafka.errors import KafkaError, NoOffsetForPartitionError
from redis import exceptions

from recommender.ledger import LastEvent, Ledger, apply_event, entries, pack, unpack
from recommender.ledger.batch import EmbeddedItems
from schemas.codec import RatingDecoder
from schemas.errors import (
    BusUnavailable,
    EventsLost,
    LogTooShort,
    PartitionLost,
    StateMismatch,
    StateMissing,
    StoreUnavailable,
    TopicReplaced,
)
from streams.store import writer as writer_module
from streams.store.clients import make_async_client
from streams.store.keys import ShardKeys
from streams.store.writer import StateWriter
from streams.worker import apply as apply_module
from streams.worker import runner as runner_module
from streams.worker.apply import BatchApplier
from streams.worker.claim import Claimer
from streams.worker.ending import end_tasks
from streams.worker.runner import PartitionRunner
from streams.worker.topic_guard import TopicGuard
from tests.streams.worker.memory import MemoryLog, MemoryRecord, rating

pytestmark = pytest.mark.integration

NO_ITEMS = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))
MOST_CLAIMS = 3


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(apply_module, "STORE_RETRY_S", 0.001)
    monkeypatch.setattr(runner_module, "RETRY_S", 0.001)


@pytest.fixture(params=[0, 1_000_000], ids=["reads each time", "keeps ledgers"])
def bench(store, make_settings, request):
    """A maker of workers on one store; what they did is seen through its fields."""
    settings = make_settings(redis_url=store.url)

    @asynccontextmanager
    async def make(shards=1, topic_id="T1", scale="scale", max_age_s=0, **claimer):
        client = make_async_client(settings)
        seen = SimpleNamespace(client=client, letters=[], failures=[], batches=[], moves=[], send=None)
        writer = StateWriter(client, settings.namespace, shards, scale, cache_bytes=request.param)

        async def send(letters):
            if seen.send is not None:
                await seen.send(letters)
            seen.letters += letters

        seen.topic_id, seen.claims = topic_id, 0

        async def current_topic_id():
            return seen.topic_id

        applier = BatchApplier(writer, RatingDecoder(0.5, 5), send, lambda: NO_ITEMS, len)
        move = applier.move

        async def note_move(session, position):
            await move(session, position)
            seen.moves.append(position)

        applier.move = note_move
        seen.writer = writer
        guard = TopicGuard("ratings", current_topic_id, max_age_s)
        seen.keys = ShardKeys(settings.namespace, 0)

        async def topic_id_of_claim():
            seen.claims += 1
            return await guard.current()

        seen.runner = PartitionRunner(
            Claimer(writer, "ratings", topic_id_of_claim, **claimer),
            applier,
            guard.confirm,
            lambda _session, _records, done, _seconds: seen.batches.append(done),
            seen.failures.append,
        )
        try:
            yield seen
        finally:
            await client.aclose()

    return make


async def until(condition, timeout_s=10.0):
    """Let the other tasks run until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition is on plain values, there is nothing to wait on
            await asyncio.sleep(0)


async def run_until(seen, log, condition, timeout_s=10.0):
    """Run the partition until a condition holds or it ended by itself, then cancel it."""
    task = asyncio.create_task(seen.runner.run(log))
    try:
        await until(lambda: task.done() or condition(), timeout_s)
    finally:
        await end_tasks([task])


async def applied_to(seen, log, offset):
    await run_until(seen, log, lambda: log.applied == offset)
    assert seen.failures == []
    assert log.applied == offset


async def counts(seen, user="u"):
    value = await seen.client.get(seen.keys.ledger(user))
    return 0 if value is None else unpack(value).t


def test_records_are_applied_once_and_the_watermark_follows(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0, item="a"), rating(1, item="b"), rating(2, item="a"))
        async with bench() as seen:
            await applied_to(seen, log, 3)
            ledger = unpack(await seen.client.get(seen.keys.ledger("u")))
            return [tuple(entry)[1:] for entry in sorted(entries(ledger).tolist(), key=lambda entry: -entry[1])]

    assert asyncio.run(scenario()) == [(2, 2, 80000), (1, 1, 40000)]


def test_second_worker_goes_on_where_the_first_one_was(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0), rating(1))
        async with bench() as seen:
            await applied_to(seen, log, 2)
        log.add(rating(2))
        log.read_from, log.applied = 0, None
        async with bench() as seen:
            await applied_to(seen, log, 3)
            return log.seeks, await counts(seen)

    assert asyncio.run(scenario()) == ([0, 2], 3)


async def store_goes_back(bench) -> int:
    """The store comes back without its newest writes; Kafka's position is ahead of the state."""
    log = MemoryLog()
    log.add(rating(0), rating(1))
    async with bench() as seen:
        await applied_to(seen, log, 2)
        kept = {key: await seen.client.dump(key) for key in await seen.client.keys(f"{seen.keys.root}*")}
        log.add(rating(2), rating(3))
        await applied_to(seen, log, 4)
        await seen.client.delete(*await seen.client.keys(f"{seen.keys.root}*"))
        for key, value in kept.items():
            await seen.client.restore(key, 0, value)
        log.add(rating(4))
        log.applied = None
        await applied_to(seen, log, 5)
        return await counts(seen)


def test_state_that_went_back_is_repaired_by_the_seek(bench):
    assert asyncio.run(store_goes_back(bench)) == 5


def test_without_the_seek_events_would_be_lost(bench):
    async def no_seek(self, offset):
        pass

    with patch.object(MemoryLog, "seek", no_seek):
        assert asyncio.run(store_goes_back(bench)) < 5


def test_store_going_back_under_a_running_worker_begins_a_new_session(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0), rating(1))
        async with bench() as seen:
            original = seen.writer.commit
            broken = False

            async def commit(claim, expected, new, *rest):
                nonlocal broken
                if not broken and new == 4:
                    broken = True
                    mark = (await seen.client.get(claim.watermark)).split(b" ", 1)[1]
                    await seen.client.delete(seen.keys.ledger("u"))
                    await seen.client.set(claim.watermark, b"0 " + mark)
                await original(claim, expected, new, *rest)

            with patch.object(seen.writer, "commit", commit):
                await run_until(seen, log, lambda: log.applied == 2)
                log.add(rating(2), rating(3))
                await applied_to(seen, log, 4)
            return await counts(seen), log.seeks

    assert asyncio.run(scenario()) == (4, [0, 2, 0])


@pytest.mark.parametrize("was_written", [True, False])
def test_lost_reply_is_resolved_by_the_watermark(bench, was_written):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0), rating(1))
        async with bench() as seen:
            original = seen.writer.commit
            lost = False

            async def commit(*arguments):
                nonlocal lost
                if not lost and was_written:
                    await original(*arguments)
                if not lost:
                    lost = True
                    raise StoreUnavailable("the reply was lost")
                await original(*arguments)

            with patch.object(seen.writer, "commit", commit):
                await applied_to(seen, log, 2)
            return await counts(seen), len(log.seeks)

    assert asyncio.run(scenario()) == (2, 1)


def test_store_that_is_away_holds_the_partition_and_loses_nothing(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0), rating(1))
        async with bench() as seen:
            original = seen.client.evalsha
            away = 20

            async def evalsha(*arguments):
                nonlocal away
                away -= 1
                if away > 0:
                    raise exceptions.ConnectionError("away")
                return await original(*arguments)

            with patch.object(seen.client, "evalsha", evalsha):
                await applied_to(seen, log, 2)
            return await counts(seen)

    assert asyncio.run(scenario()) == 2


def test_bad_record_reaches_the_dead_letters_before_the_watermark_passes_it(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0), MemoryRecord(1, b"\xff", b"k"), rating(2))
        marks = []
        async with bench() as seen:

            async def send(letters):
                marks.append(await seen.client.get(seen.keys.watermark("T1", 0)))

            seen.send = send
            await applied_to(seen, log, 3)
            (letter,) = seen.letters
            return int(marks[0].split()[0]), letter.key, letter.value, dict(letter.headers)

    mark, key, value, headers = asyncio.run(scenario())
    assert (mark, key, value) == (0, b"T1/0/1", b"\xff")
    assert headers["streamrec-reason"] == b"not_utf8"
    assert headers["streamrec-key"] == b"k"


def test_dead_letter_is_sent_again_when_the_broker_was_away(bench):
    async def scenario():
        log = MemoryLog()
        log.add(MemoryRecord(0, b"\xff"), rating(1))
        tries = []
        async with bench() as seen:

            async def send(letters):
                tries.append(letters)
                if len(tries) < 3:
                    raise BusUnavailable("away")

            seen.send = send
            await applied_to(seen, log, 2)
            return len(tries), len(seen.letters)

    assert asyncio.run(scenario()) == (3, 1)


def test_dead_letter_that_cannot_be_sent_stops_the_worker_before_the_watermark(bench):
    async def scenario():
        log = MemoryLog()
        log.add(MemoryRecord(0, b"\xff"))
        async with bench() as seen:

            async def send(letters):
                raise RuntimeError("the broker refuses")

            seen.send = send
            await run_until(seen, log, lambda: False)
            return seen.failures, await seen.client.get(seen.keys.watermark("T1", 0))

    failures, mark = asyncio.run(scenario())
    assert repr(failures) == "[RuntimeError('the broker refuses')]"
    assert mark.startswith(b"0 ")


def test_report_of_a_batch_tells_repeats_unknown_items_and_bad_records_apart(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0, event_id="e"), rating(1, event_id="e"), rating(2), MemoryRecord(3, b"{"))
        async with bench() as seen:
            await applied_to(seen, log, 4)
            return seen.batches

    (done,) = asyncio.run(scenario())
    assert (done.records, done.applied, done.repeats, done.unknown_items) == (4, 2, 1, 2)
    assert done.dead_letters == {"not_json": 1}


def test_watermark_moves_over_a_hole_at_the_end_of_the_log(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0))
        log.end_offset = 5
        async with bench() as seen:
            await applied_to(seen, log, 5)
            return await seen.client.get(seen.keys.watermark("T1", 0))

    assert asyncio.run(scenario()).startswith(b"5 ")


def test_idle_watermark_says_that_the_end_of_the_log_was_reached(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0))
        async with bench() as seen:
            await applied_to(seen, log, 1)
            key = seen.keys.watermark("T1", 0)
            before = await seen.client.get(key)
            await seen.client.set(key, b" ".join([*before.split()[:3], b"0"]))
            task = asyncio.create_task(seen.runner.run(log))
            moved = len(seen.moves)
            await until(lambda: len(seen.moves) > moved)
            await end_tasks([task])
            assert int((await seen.client.get(key)).split()[3]) > 0
            return (await seen.client.get(key)).split()[0]

    assert asyncio.run(scenario()) == b"1"


def test_error_raised_once_for_a_new_group_is_no_failure(bench):
    async def scenario():
        log = MemoryLog(fetch_errors=[NoOffsetForPartitionError({})])
        log.add(rating(0))
        async with bench() as seen:
            await applied_to(seen, log, 1)
            return await counts(seen)

    assert asyncio.run(scenario()) == 1


def test_fenced_three_times_ends_the_worker_and_never_before(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0))
        async with bench() as seen, bench() as other:
            original = seen.writer.read

            async def read(*arguments):
                await other.writer.assign(0, "T1", 0, "other", None)
                return await original(*arguments)

            with patch.object(seen.writer, "read", read):
                for _ in range(3):
                    await run_until(seen, log, lambda: False)
            return log.rejoins, seen.failures, await counts(seen)

    rejoins, (failure,), count = asyncio.run(scenario())
    assert (rejoins, count) == (2, 0)
    assert isinstance(failure, PartitionLost)


async def halt_of(seen, log):
    """Return what ends the worker; a batch, a move or one claim after the other says that nothing does."""
    done, claims = len(seen.batches) + len(seen.moves), seen.claims
    await run_until(seen, log, lambda: len(seen.batches) + len(seen.moves) > done or seen.claims > claims + MOST_CLAIMS)
    assert seen.failures, f"no halt: {len(seen.batches)} batches, moves to {seen.moves}, {seen.claims} claims"
    (failure,) = seen.failures
    return failure


def failure_of(bench, log, **options):
    async def scenario():
        async with bench(**options) as seen:
            return await halt_of(seen, log)

    return asyncio.run(scenario())


def apply_all(bench, log, **options):
    async def scenario():
        async with bench(**options) as seen:
            await applied_to(seen, log, log.end_offset)

    asyncio.run(scenario())


def test_log_that_starts_after_the_watermark_halts_naming_both(bench):
    log = MemoryLog()
    log.add(rating(0))
    apply_all(bench, log)
    log.start_offset = log.end_offset = 9
    failure = failure_of(bench, log)
    assert isinstance(failure, EventsLost)
    assert "starts at offset 9" in str(failure)
    assert "8 events were removed" in str(failure)


def test_log_cut_under_a_running_worker_halts(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0))
        async with bench() as seen:
            await applied_to(seen, log, 1)
            original = log.fetch

            async def fetch(max_records, timeout_s):
                log.start_offset = log.end_offset = 50
                return await original(max_records, timeout_s)

            with patch.object(log, "fetch", fetch):
                return await halt_of(seen, log)

    assert isinstance(asyncio.run(scenario()), EventsLost)


def test_log_that_ends_before_the_watermark_halts_naming_both(bench):
    log = MemoryLog()
    log.add(rating(0), rating(1))
    apply_all(bench, log)
    log.records.pop()
    log.end_offset = 1
    failure = failure_of(bench, log)
    assert isinstance(failure, LogTooShort)
    assert "ends at offset 1" in str(failure)
    assert "up to 2" in str(failure)


def test_log_whose_end_is_named_too_low_does_not_halt(bench):
    log = MemoryLog()
    log.add(rating(0), rating(1))
    apply_all(bench, log)
    log.applied = None

    async def end():
        return 1

    with patch.object(log, "end", end):
        apply_all(bench, log)
    assert log.applied == 2


def test_topic_made_again_halts_and_says_how_to_go_on(bench):
    log = MemoryLog()
    log.add(rating(0))
    apply_all(bench, log)
    failure = failure_of(bench, MemoryLog(), topic_id="T2")
    assert isinstance(failure, TopicReplaced)
    assert "--accept-topic-id T2" in str(failure)


@pytest.mark.parametrize(("max_age_s", "expected"), [(0, 1), (3600, 2)], ids=["asked after each fetch", "not asked"])
def test_records_of_a_topic_made_again_under_a_running_worker_are_applied_only_when_nobody_asks(
    bench, max_age_s, expected
):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0))
        async with bench(max_age_s=max_age_s) as seen:
            await run_until(seen, log, lambda: log.applied == 1)
            original = log.fetch

            async def fetch_from_the_new_topic(max_records, timeout_s):
                seen.topic_id = "T2"
                if len(log.records) == 1:
                    log.add(rating(1))
                return await original(max_records, timeout_s)

            log.applied = None
            log.fetch = fetch_from_the_new_topic
            await run_until(seen, log, lambda: log.applied == 2)
            return await counts(seen), [type(failure) for failure in seen.failures]

    count, failures = asyncio.run(scenario())
    assert count == expected
    assert failures == ([TopicReplaced] if max_age_s == 0 else [])


def test_topic_made_again_can_be_accepted(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0))
        async with bench() as seen:
            await applied_to(seen, log, 1)
        again = MemoryLog(committed_offset=1)
        again.add(rating(0), rating(1))
        async with bench(topic_id="T2", accepted_topic_id="T2") as seen:
            await applied_to(seen, again, 2)
            return await counts(seen)

    assert asyncio.run(scenario()) == 3


def test_committed_offsets_without_a_watermark_halt(bench):
    failure = failure_of(bench, MemoryLog(committed_offset=4, end_offset=9))
    assert isinstance(failure, StateMissing)
    assert "committed offset 4" in str(failure)


def test_store_emptied_before_the_first_hint_halts_too(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0), rating(1))
        async with bench() as seen:
            task = asyncio.create_task(seen.runner.run(log))
            await until(lambda: log.applied == 2)
            await seen.client.delete(*await seen.client.keys(f"{seen.keys.root}*"))
            log.add(rating(2))
            await until(lambda: task.done() or log.applied == 3)
            await end_tasks([task])
            return seen.failures

    failures = asyncio.run(scenario())
    assert failures, "no halt: what came after the emptying was applied"
    (failure,) = failures
    assert isinstance(failure, StateMissing)
    assert "applied up to offset 2" in str(failure)
    assert "worker --rebuild" in str(failure)


@pytest.mark.parametrize("shards", [1, 3])
def test_worker_that_may_rebuild_starts_an_emptied_store_over_and_says_so(bench, shards):
    async def scenario():
        log = MemoryLog()
        log.add(*(rating(n, user=f"u{n % 7}") for n in range(40)))
        async with bench(shards=shards, rebuilds=True) as seen:
            task = asyncio.create_task(seen.runner.run(log))
            await until(lambda: log.applied == 40)
            log.committed_offset = 40
            root = seen.keys.root.removesuffix("0}")
            await seen.client.delete(*await seen.client.keys(f"{root}*"))
            log.add(rating(40, user="u1"))
            with structlog.testing.capture_logs() as logs:
                await until(lambda: task.done() or log.applied == 41)
            await end_tasks([task])
            keys = [ShardKeys(seen.keys.namespace, shard) for shard in range(shards)]
            values = [await seen.client.get(key.ledger(f"u{n}")) for key in keys for n in range(7)]
            return logs, sorted(unpack(value).t for value in values if value is not None), seen.failures

    logs, t, failures = asyncio.run(scenario())
    assert (t, failures) == ([5, 5, 6, 6, 6, 6, 7], [])
    alarms = [entry for entry in logs if entry["event"] == "state.rebuilding"]
    assert [(alarm["shard"], alarm["reached"], alarm["log_level"]) for alarm in alarms] == [
        (shard, 40, "critical") for shard in range(shards)
    ]


def test_log_without_its_start_is_not_rebuilt_from(bench):
    log = MemoryLog(committed_offset=9, start_offset=4, end_offset=9)
    failure = failure_of(bench, log, rebuilds=True)
    assert isinstance(failure, EventsLost)
    assert "committed offset 9" in str(failure)
    assert "starts at offset 4: 4 events were removed" in str(failure)


def test_log_that_is_shorter_than_what_was_committed_is_not_rebuilt_from(bench):
    log = MemoryLog(committed_offset=9)
    log.add(rating(0))
    failure = failure_of(bench, log, rebuilds=True)
    assert isinstance(failure, LogTooShort)
    assert "the log ends at offset 1" in str(failure)


def test_nothing_is_written_where_a_rebuild_cannot_be(bench):
    async def scenario():
        async with bench(rebuilds=True) as seen:
            await halt_of(seen, MemoryLog(committed_offset=9, start_offset=4, end_offset=9))
            return await seen.client.keys(f"{seen.keys.root}*")

    assert asyncio.run(scenario()) == []


def test_bad_records_that_were_judged_before_the_store_was_emptied_do_not_open_the_breaker(bench):
    async def scenario():
        log = MemoryLog(committed_offset=300)
        log.add(*(MemoryRecord(n, b"{", b"u") for n in range(300)), rating(300))
        async with bench(rebuilds=True) as seen:
            await applied_to(seen, log, 301)
        async with bench(rebuilds=True) as seen:  # nor for whoever takes the partition next
            session = await seen.runner._claimer.claim(log)
            return session.forgiven, await counts(seen)

    assert asyncio.run(scenario()) == (300, 1)


def test_shard_that_was_lost_alone_is_made_up_for_from_the_log(bench):
    async def scenario():
        log = MemoryLog()
        log.add(*(rating(n, user=f"u{n % 7}") for n in range(40)))
        log.committed_offset = 40
        async with bench(shards=3, rebuilds=True) as seen:
            log.committed_offset = None
            await applied_to(seen, log, 40)
        log.committed_offset = 40
        async with bench(shards=3, rebuilds=True) as seen:
            namespace = seen.keys.namespace
            await seen.client.delete(*await seen.client.keys(f"{{{namespace}:1}}*"))
            log.add(rating(40, user="u1"))
            log.applied = None
            await applied_to(seen, log, 41)
            keys = [ShardKeys(namespace, shard) for shard in range(3)]
            values = [await seen.client.get(key.ledger(f"u{n}")) for key in keys for n in range(7)]
            return sorted(unpack(value).t for value in values if value is not None)

    assert asyncio.run(scenario()) == [5, 5, 6, 6, 6, 6, 7]


def test_first_shard_that_went_back_before_a_flip_halts_instead_of_turning_in_circles(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0))
        async with bench(shards=2) as seen:
            await applied_to(seen, log, 1)
            await seen.client.set(ShardKeys(seen.keys.namespace, 1).live_generation, 2)
            return await halt_of(seen, log)

    failure = asyncio.run(scenario())
    assert isinstance(failure, StateMismatch)
    assert "shard 0 of the state is at generation 1" in str(failure)


def test_session_of_the_generation_before_ends_with_a_flip_and_the_next_has_its_shards(bench):
    async def scenario():
        log = MemoryLog()
        log.add(rating(0))
        async with bench() as seen:
            task = asyncio.create_task(seen.runner.run(log))
            await until(lambda: log.applied == 1)
            namespace = seen.keys.namespace
            built = StateWriter(seen.client, namespace, 3, "scale", builds=2)
            await seen.client.set(ShardKeys(namespace, 0, 2).shards, 3)
            for shard in range(3):
                await built.assign(shard, "T1", 0, "other", 1)
            await seen.client.set(seen.keys.live_generation, 2)
            log.add(*(rating(n, user=f"u{n}") for n in range(1, 9)))
            await until(lambda: task.done() or log.applied == 9)
            await end_tasks([task])
            homes = [len(await seen.client.keys(f"{{{namespace}:{s}}}:g2:user:*")) for s in range(3)]
            tokens = [await seen.client.get(ShardKeys(namespace, s).live_generation) for s in range(3)]
            return homes, tokens, seen.failures

    homes, tokens, failures = asyncio.run(scenario())
    assert (sum(homes), min(homes) > 0) == (8, True)
    assert (tokens, failures) == ([b"2"] * 3, [])


def test_another_rating_scale_halts(bench):
    log = MemoryLog()
    log.add(rating(0))
    apply_all(bench, log)
    assert isinstance(failure_of(bench, log, scale="another"), StateMismatch)


@pytest.mark.parametrize(("start_ms", "expected"), [(None, 3), (20, 2), (99, 0)])
def test_unknown_partition_starts_where_it_is_told(bench, start_ms, expected):
    async def scenario():
        log = MemoryLog()
        for offset, record in enumerate([rating(0), rating(1), rating(2)]):
            record.timestamp = 10 * (offset + 1)
            log.add(record)
        async with bench(start_ms=start_ms) as seen:
            await applied_to(seen, log, 3)
            return await counts(seen)

    assert asyncio.run(scenario()) == expected


def test_two_shards_give_the_ledgers_of_one(bench):
    async def scenario(shards):
        log = MemoryLog()
        log.add(*(rating(n, user=f"u{n % 7}", item=f"i{n % 5}") for n in range(40)))
        async with bench(shards=shards, scale=f"{shards}") as seen:
            keys = [ShardKeys(seen.keys.namespace, shard) for shard in range(shards)]
            await applied_to(seen, log, 40)
            found = {}
            for shard in keys:
                async for key in seen.client.scan_iter(shard.ledger_pattern()):
                    found[shard.user_of(key.decode())] = entries(unpack(await seen.client.get(key))).tolist()
            await seen.client.delete(*[key async for key in seen.client.scan_iter(f"{{{seen.keys.namespace}:*")])
            return found

    one, two = asyncio.run(scenario(1)), asyncio.run(scenario(2))
    assert len(one) == 7
    assert one == two


def test_user_in_two_partitions_is_counted_exactly(bench):
    async def scenario():
        logs = [MemoryLog(partition=0), MemoryLog(partition=1)]
        for log in logs:
            log.add(*(rating(n, user=f"u{n % 3}") for n in range(30)))
        async with bench() as seen:
            original, met = seen.writer.read, asyncio.Barrier(2)
            waiting = {0, 1}

            async def read_together_once(claim, *arguments):
                stored = await original(claim, *arguments)
                partition = int(claim.watermark.rsplit(":", 1)[1])
                if partition in waiting:
                    waiting.discard(partition)
                    await met.wait()
                return stored

            with patch.object(seen.writer, "read", read_together_once):
                tasks = [asyncio.create_task(seen.runner.run(log)) for log in logs]
                await until(lambda: all(log.applied == 30 for log in logs))
            await end_tasks(tasks)
            assert seen.failures == []
            conflicts = sum(done.conflicts for done in seen.batches)
            return [await counts(seen, f"u{n}") for n in range(3)], conflicts

    totals, conflicts = asyncio.run(scenario())
    assert totals == [20, 20, 20]
    assert conflicts > 0


def test_quiet_work_runs_at_the_end_of_the_log_and_after_small_batches_only(bench, monkeypatch):
    monkeypatch.setattr(runner_module, "BUSY_RECORDS", 3)

    async def scenario():
        async with bench() as seen:
            fetched, quiet = [], []
            log = MemoryLog()
            fetch = log.fetch

            async def note_fetch(*arguments):
                found = await fetch(*arguments)
                fetched.append(len(found))
                return found

            async def note_quiet(session):
                quiet.append((fetched[-1], session.position, session.next_offsets[0]))

            log.fetch, seen.runner._when_quiet = note_fetch, note_quiet
            log.add(*(rating(offset) for offset in range(4)))
            await run_until(seen, log, lambda: len(quiet) >= 2)
            log.add(rating(4))
            await run_until(seen, log, lambda: quiet[-1] == (0, 5, 5))
            assert not seen.failures
            return sorted(set(quiet))

    assert asyncio.run(scenario()) == [(0, 4, 4), (0, 5, 5), (1, 5, 5)]


def test_large_ledgers_of_one_batch_are_read_and_written_a_bounded_number_at_a_time(bench, monkeypatch):
    monkeypatch.setattr(writer_module, "READ_BYTES", 10_000)
    large = Ledger.empty(0)
    for n in range(230):
        large = apply_event(large, item=n, rating=1, event=0, at=LastEvent(1, 0, n), x=None)
    value = pack(large)

    async def scenario():
        async with bench() as seen:
            log = MemoryLog()
            users = [f"u{n}" for n in range(8)]
            for user in users:
                await seen.client.set(seen.keys.ledger(user), value)
            for n in range(80):
                log.add(*(rating(len(log.records) + i, user, f"i{n}") for i, user in enumerate(users)))
            commits = []
            commit = seen.writer.commit

            async def note(claim, expected, new, user_ids=(), writes=(), *rest):
                commits.append((expected, new, sum(len(write.head) for write in writes)))
                await commit(claim, expected, new, user_ids, writes, *rest)

            seen.writer.commit = note
            await run_until(seen, log, lambda: sum(done.records for done in seen.batches) == 640)
            assert not seen.failures
            found = [unpack(await seen.client.get(seen.keys.ledger(user))) for user in users]
            return len(seen.batches), [each for each in commits if each[2]], found

    batches, commits, ledgers = asyncio.run(scenario())
    assert batches == 1
    assert len(commits) >= 4
    assert max(size for _, _, size in commits) < 10_000 + 2 * 80 * 24
    assert [expected for expected, _, _ in commits] == [0, *(new for _, new, _ in commits[:-1])]
    assert [ledger.t for ledger in ledgers] == [310] * 8
    assert all(len(entries(ledger)) == 310 for ledger in ledgers)


def test_a_partition_is_as_fresh_as_its_watermark_moved_or_was_found_at_the_end(bench):
    async def scenario():
        log = MemoryLog(moved_s=-1.0)
        log.add(rating(0))
        async with bench() as seen:
            await applied_to(seen, log, 1)
            after_batch, log.moved_s = log.moved_s, -1.0
            await run_until(seen, log, lambda: log.moved_s > 0)
        return after_batch, log.watermark

    after_batch, watermark = asyncio.run(scenario())
    assert after_batch > 0
    assert watermark == 1


def test_a_partition_whose_end_the_broker_does_not_tell_is_not_fresh(bench):
    class SilentLog(MemoryLog):
        asked = 0

        async def end(self):
            self.asked += 1
            if self.asked > 1:
                raise KafkaError
            return 0

    async def scenario():
        log = SilentLog(moved_s=-1.0)
        async with bench() as seen:
            await run_until(seen, log, lambda: log.asked > 3)
        return log.moved_s, log.watermark

    assert asyncio.run(scenario()) == (-1.0, 0)
