"""Dead letters on their way through the worker: the breaker before them, and the redriven events after them."""

import asyncio
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from recommender.ledger import unpack
from recommender.ledger.batch import EmbeddedItems
from schemas.codec import RatingDecoder
from schemas.errors import BreakerOpen, Fenced, StoreUnavailable
from streams.store import writer as writer_module
from streams.store.clients import make_async_client
from streams.store.keys import ShardKeys
from streams.store.scripts import BREAKER, COMMIT
from streams.store.writer import StateWriter
from streams.worker import apply as apply_module
from streams.worker.apply import BatchApplier
from streams.worker.claim import Claimer
from tests.streams.store.mutants import NO_HOLDER, without
from tests.streams.worker.memory import MemoryLog, MemoryRecord, rating

pytestmark = pytest.mark.integration

NO_ITEMS = EmbeddedItems(bytes(8), np.empty(0, np.uint64), np.empty((0, 0)))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(apply_module, "STORE_RETRY_S", 0.001)


@pytest.fixture
def bench(store, make_settings):
    """A maker of workers, each a process of its own on one store, without the runner around them."""
    settings = make_settings(redis_url=store.url)

    @asynccontextmanager
    async def make(*, resumes=False, shards=1):
        client = make_async_client(settings)
        letters = []
        writer = StateWriter(client, settings.namespace, shards, f"{shards} shards")

        async def send(sent):
            letters.extend(sent)

        async def topic_id():
            return "T"

        applier = BatchApplier(writer, RatingDecoder(0.5, 5), send, lambda: NO_ITEMS, len)
        claimer = Claimer(writer, "ratings", topic_id, resumes=resumes)

        async def apply(log, count=2048):
            session = await claimer.claim(log)
            for begin in range(session.position, log.end_offset, count):
                await applier.apply(session, log.records[begin : begin + count])

        async def t(user="u"):
            found = 0
            for shard in range(shards):
                value = await client.get(ShardKeys(settings.namespace, shard).ledger(user))
                found += 0 if value is None else unpack(value).t
            return found

        async def position():
            return int((await client.get(ShardKeys(settings.namespace, 0).watermark("T", 0))).split()[0])

        try:
            yield SimpleNamespace(
                apply=apply,
                applier=applier,
                letters=letters,
                t=t,
                position=position,
                writer=writer,
                client=client,
                claimer=claimer,
            )
        finally:
            await client.aclose()

    return make


def log_of(*records):
    log = MemoryLog()
    log.add(*records)
    return log


def bad(offset):
    return MemoryRecord(offset, b"{", b"u")


def bad_deploy(good=300, wrong=3000):
    """A log whose events a new release takes for bad, from some offset on."""
    return log_of(*(rating(n) for n in range(good)), *(bad(n) for n in range(good, good + wrong)))


def test_bad_deploy_halts_before_its_batch_is_dead_lettered_and_names_the_numbers(bench):
    async def scenario():
        async with bench() as worker:
            with pytest.raises(BreakerOpen) as halt:
                await worker.apply(bad_deploy(), 100)
            return len(worker.letters), await worker.position(), str(halt.value)

    letters, position, why = asyncio.run(scenario())
    assert (letters, position) == (0, 300), "the 76th bad event is over 20 %; the batch that has it sent nothing"
    assert "76 of the last 376 events up to offset 375 break the contract (not_json 76)" in why
    assert "'ratings' partition 0" in why
    assert "state stands at offset 300" in why
    assert "streamrec worker --resume" in why


def test_without_the_breaker_a_bad_deploy_drains_the_topic(bench):
    async def no_check(self, session, records, bad):
        pass

    async def scenario():
        async with bench() as worker:
            with patch.object(BatchApplier, "_check_breaker", no_check):
                await worker.apply(bad_deploy(), 100)
            return len(worker.letters), await worker.position()

    assert asyncio.run(scenario()) == (3000, 3300)


def test_open_breaker_survives_a_restart_and_resume_lets_through_what_is_in_the_log(bench):
    log = bad_deploy()

    async def scenario():
        async with bench() as worker:
            with pytest.raises(BreakerOpen):
                await worker.apply(log, 100)
        async with bench() as worker:
            with pytest.raises(BreakerOpen, match="76 of the last 376"):
                await worker.apply(log, 100)
            assert worker.letters == []
        async with bench(resumes=True) as worker:
            await worker.apply(log, 100)
            assert (len(worker.letters), await worker.position()) == (3000, 3300)
        log.add(*(bad(n) for n in range(3300, 3500)))
        async with bench() as worker:
            with pytest.raises(BreakerOpen, match="up to offset 3399"):
                await worker.apply(log, 100)

    asyncio.run(scenario())


def test_worker_killed_after_resume_goes_on_where_it_was(bench):
    log = bad_deploy()

    async def scenario():
        async with bench() as worker:
            with pytest.raises(BreakerOpen):
                await worker.apply(log)
        async with bench(resumes=True) as worker:
            await worker.claimer.claim(log)
        async with bench() as worker:
            await worker.apply(log)
            return len(worker.letters), await worker.position()

    assert asyncio.run(scenario()) == (3000, 3300)


def test_store_that_is_away_when_the_breaker_opens_is_waited_for(bench):
    async def scenario():
        async with bench() as worker:
            original, tries = worker.writer.write_breaker, []

            async def write(*arguments):
                tries.append(arguments)
                if len(tries) < 3:
                    raise StoreUnavailable("away")
                await original(*arguments)

            with patch.object(worker.writer, "write_breaker", write), pytest.raises(BreakerOpen):
                await worker.apply(bad_deploy())
            assert worker.letters == []
        async with bench() as worker:
            with pytest.raises(BreakerOpen):
                await worker.apply(bad_deploy())

    asyncio.run(scenario())


async def zombie_opens_the_breaker(bench):
    """A bad release lost its partition to a good one while it decoded; the good one is started anew afterwards."""
    log = bad_deploy()
    async with bench() as zombie, bench() as other:
        session = await zombie.claimer.claim(log)
        await other.claimer.claim(log)
        with suppress(Fenced, BreakerOpen):
            await zombie.applier.apply(session, log.records)
    async with bench() as worker:
        await worker.claimer.claim(log)


def test_worker_that_was_fenced_does_not_open_the_breaker_of_the_one_that_holds_the_partition(bench):
    asyncio.run(zombie_opens_the_breaker(bench))


def test_without_the_fence_a_zombie_would_halt_the_others(bench, monkeypatch):
    monkeypatch.setattr(writer_module, "BREAKER", without(BREAKER, *NO_HOLDER))
    with pytest.raises(BreakerOpen):
        asyncio.run(zombie_opens_the_breaker(bench))


def redriven(offset, name="T/0/1", **values):
    record = rating(offset, **values)
    record.headers = (("other", b"x"), ("streamrec-redrive", name.encode()))
    return record


@pytest.mark.parametrize("count", [1, 2, 2048])
def test_event_redriven_again_and_again_is_applied_once(bench, count):
    log = log_of(rating(0), redriven(1), redriven(2), redriven(3, "T/0/9"), redriven(4), rating(5))

    async def scenario():
        async with bench() as worker:
            await worker.apply(log, count)
            log.add(redriven(6), redriven(7, "T/0/9"), redriven(8, "T/0/10"))
        async with bench() as worker:
            await worker.apply(log, count)
            return await worker.t(), await worker.position()

    assert asyncio.run(scenario()) == (5, 9)


def test_batch_of_nothing_but_applied_redrives_moves_the_watermark(bench):
    log = log_of(redriven(0))

    async def scenario():
        async with bench() as worker:
            await worker.apply(log)
            log.add(redriven(1, user="u"), redriven(2, user="u"))
            await worker.apply(log)
            return await worker.t(), await worker.position()

    assert asyncio.run(scenario()) == (1, 3)


def test_users_of_a_batch_keep_their_events_when_some_are_dropped(bench):
    records = [redriven(0, "T/0/1", user="a"), *(rating(n, user=f"u{n % 3}") for n in range(1, 10))]
    log = log_of(*records, redriven(10, "T/0/2", user="b"), redriven(11, "T/0/1", user="a"))

    async def scenario():
        async with bench(shards=3) as worker:
            await worker.apply(log)
            log.add(redriven(12, "T/0/2", user="b"), rating(13, user="a"), rating(14, user="u0"))
            await worker.apply(log)
            return [await worker.t(user) for user in ("a", "b", "u0", "u1", "u2")]

    assert asyncio.run(scenario()) == [2, 1, 4, 3, 3]


async def redriven_in_two_partitions(bench):
    """The same letter lies in two partitions; the second worker read before the first one committed."""
    async with bench() as worker:
        original, first = worker.writer.redriven, True

        async def redriven_late(claim, events):
            nonlocal first
            found = await original(claim, events)
            if first:
                first = False
                other = log_of(redriven(0, user="v"))
                other.partition = 1
                await worker.apply(other)
            return found

        with patch.object(worker.writer, "redriven", redriven_late):
            await worker.apply(log_of(redriven(0)))
        return await worker.t("u") + await worker.t("v")


def test_event_redriven_into_two_partitions_at_once_is_applied_once(bench):
    assert asyncio.run(redriven_in_two_partitions(bench)) == 1


def test_without_the_check_in_the_script_it_would_be_applied_twice(bench, monkeypatch):
    check = "if redis.call('SISMEMBER', KEYS[#KEYS], ARGV[i]) == 1 then return {'REV'} end"
    monkeypatch.setattr(writer_module, "COMMIT", without(COMMIT, (check, "")))
    assert asyncio.run(redriven_in_two_partitions(bench)) == 2


def test_without_the_mark_a_repeated_redrive_would_be_applied_twice(bench, monkeypatch):
    monkeypatch.setattr(writer_module, "COMMIT", without(COMMIT, ("redis.call('SADD', KEYS[#KEYS], ARGV[i])", "")))

    async def scenario():
        log = log_of(redriven(0))
        async with bench() as worker:
            await worker.apply(log)
            log.add(redriven(1))
            await worker.apply(log)
            return await worker.t()

    assert asyncio.run(scenario()) == 2


def test_redriven_event_that_is_bad_again_is_dead_lettered_as_itself_and_remembers_its_first_letter(bench):
    record = bad(0)
    record.headers = (("streamrec-redrive", b"T/0/77"),)

    async def scenario():
        async with bench() as worker:
            await worker.apply(log_of(record))
            return worker.letters

    (letter,) = asyncio.run(scenario())
    assert letter.key == b"T/0/0"
    assert dict(letter.headers)["streamrec-redrive"] == b"T/0/77"


@pytest.mark.parametrize("value", [b"", b"T/0", b"T/0/x", b"T/0/1 ", b"a b/0/1", b"x" * 200 + b"/0/1"])
def test_header_of_another_form_is_no_redrive(bench, value):
    record, again = rating(0), rating(1)
    record.headers = again.headers = (("streamrec-redrive", value),)

    async def scenario():
        async with bench() as worker:
            await worker.apply(log_of(record, again))
            return await worker.t()

    assert asyncio.run(scenario()) == 2
