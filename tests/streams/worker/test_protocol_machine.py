"""The commit protocol under any interleaving, crashes and lost replies, beside a model; and without its guards."""

import os
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from streams.store.clients import make_client
from streams.store.scripts import COMMIT, FORGET
from streams.store.writer import StateWriter
from streams.worker import apply as apply_module
from streams.worker import claim as claim_module
from streams.worker import runner as runner_module
from streams.worker.batches import cut_events
from tests.streams.store.mutants import NO_FENCE, NO_OFFSET, NO_OWNER, NO_REVISION, without
from tests.streams.worker.protocol_machine import CommitProtocol
from tests.streams.worker.protocol_model import Said

pytestmark = pytest.mark.integration

EXAMPLES = int(os.environ.get("PROTOCOL_EXAMPLES", "0"))
SEARCH = settings(
    max_examples=EXAMPLES or 60,
    stateful_step_count=50,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
MUTATED = settings(SEARCH, max_examples=400, derandomize=True, phases=[Phase.generate])


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Nothing waits for time: what happens next is the machine's choice alone."""
    monkeypatch.setattr(apply_module, "STORE_RETRY_S", 0)
    monkeypatch.setattr(apply_module, "random", SimpleNamespace(uniform=lambda *_: 0))
    monkeypatch.setattr(runner_module, "RETRY_S", 0)
    monkeypatch.setattr(runner_module, "NEW_SESSION_PAUSE_S", 0)
    silent = SimpleNamespace(info=lambda *_, **__: None, warning=lambda *_, **__: None)
    for module in (apply_module, claim_module, runner_module):
        monkeypatch.setattr(module, "log", silent)


@pytest.fixture
def machine(store, make_settings):
    """A maker of the machine, each in a namespace of its own."""
    own = make_settings(redis_url=store.url)
    with make_client(own) as client:
        yield lambda **how: CommitProtocol(client, own.namespace, **how)


def test_nothing_is_lost_or_doubled_whatever_happens_between_any_two_steps(machine):
    run_state_machine_as_test(machine, settings=SEARCH)


def cut_from(script, *changes):
    """Exchange pieces of a script, for this process."""

    def mutate(monkeypatch):
        mutant = without(script, *changes)
        monkeypatch.setattr(script, "body", mutant.body)
        monkeypatch.setattr(script, "sha", mutant.sha)

    return mutate


def read_expected_offset_again(monkeypatch):
    commit = StateWriter.commit

    async def commit_at_what_is_there(writer, claim, expected, *rest):
        mark = await writer.watermark(claim)
        await commit(writer, claim, expected if mark is None else mark.next_offset, *rest)

    monkeypatch.setattr(StateWriter, "commit", commit_at_what_is_there)


def take_events_below_the_watermark(monkeypatch):
    monkeypatch.setattr(
        apply_module, "cut_events", lambda events, end, next_offsets: cut_events(events, end, [0] * len(next_offsets))
    )


MUTATIONS = {
    "the watermark compare": cut_from(COMMIT, *NO_OFFSET),
    "the fence check": cut_from(COMMIT, *NO_FENCE),
    "the owner check": cut_from(COMMIT, *NO_OWNER),
    "the revision compare": cut_from(COMMIT, *NO_REVISION),
    "the redrive check": cut_from(
        COMMIT, ("if redis.call('SISMEMBER', KEYS[#KEYS], ARGV[i]) == 1 then return {'REV'} end", "")
    ),
    "the watermark compare of forget": cut_from(FORGET, *NO_OFFSET),
    "the fence check of forget": cut_from(FORGET, *NO_FENCE),
    "the owner check of forget": cut_from(FORGET, *NO_OWNER),
    "the expected offset of the session": read_expected_offset_again,
    "the shard's watermark under a session's start": take_events_below_the_watermark,
}


SEEDS = {
    "the redrive check": 5,
    "the fence check of forget": 1,
    "the shard's watermark under a session's start": 1,
}
"""Where a search finds a counterexample soon, other than from 0; from any it finds one in the end."""


@pytest.mark.parametrize("guard", MUTATIONS)
def test_machine_fails_without(machine, monkeypatch, guard):
    MUTATIONS[guard](monkeypatch)
    search = seed(SEEDS.get(guard, 0))(partial(machine, finishes=False))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(search, settings=MUTATED)


def test_ledger_written_anew_after_the_store_went_back_is_not_taken_for_the_one_read(machine):
    """Partition 0 reads what partition 1 wrote, the store forgets that write, and partition 1 writes another one."""
    run = machine()
    stage = run.stage
    for offset in range(3):
        run._append(0, Said("rating", "s0", "a", 10_000))
        run._append(1, Said("rating", "s0", "b" if offset == 1 else "c", 20_000))
    for number in (0, 1):
        run.take(number, number, 0)
        run.work(number, 1, "fetch", newest_first=False)
    run.keep()
    run.work(1, 1, "fetch", newest_first=False)
    run.work(0, 1, "commit", newest_first=False)
    run.go_back(0, range(stage.shards))
    run.take(2, 1, 0)
    run.work(2, 2, "fetch", newest_first=False)
    run.work(0, 1, "fetch", newest_first=False)
    try:
        run.nothing_is_lost_or_doubled()
    finally:
        run.teardown()
