"""A topic that was deleted and made again is noticed before its records are applied."""

import asyncio

import pytest

from schemas.errors import BusUnavailable, TopicReplaced
from streams.worker.topic_guard import TopicGuard


class Broker:
    """Says which id the topic has, and counts how often it was asked."""

    def __init__(self):
        self.topic_id = "T1"
        self.asked = 0
        self.now = 100.0

    async def ask(self):
        self.asked += 1
        await asyncio.sleep(0)
        if self.topic_id is None:
            raise BusUnavailable("away")
        return self.topic_id


@pytest.fixture
def broker():
    return Broker()


def guard_of(broker, max_age_s):
    return TopicGuard("ratings", broker.ask, max_age_s, lambda: broker.now)


def test_id_asked_for_after_the_fetch_lets_the_batch_through(broker):
    asyncio.run(guard_of(broker, 0).confirm("T1", 99.0))
    assert broker.asked == 1


def test_topic_made_again_since_the_claim_refuses_the_batch_naming_both(broker):
    async def scenario():
        guard = guard_of(broker, 0)
        await guard.confirm("T1", 99.0)
        broker.topic_id, broker.now = "T2", 102.0
        await guard.confirm("T1", 101.0)

    with pytest.raises(TopicReplaced, match=r"had id T1.*again with id T2"):
        asyncio.run(scenario())


def test_answer_older_than_the_fetch_is_asked_for_anew(broker):
    async def scenario():
        guard = guard_of(broker, 0)
        await guard.current()
        broker.now = 105.0
        await guard.confirm("T1", 104.0)

    asyncio.run(scenario())
    assert broker.asked == 2


def test_answer_within_the_age_allowed_is_used_again(broker):
    async def scenario():
        guard = guard_of(broker, 10)
        await guard.current()
        broker.now = 109.0
        await guard.confirm("T1", 109.0)

    asyncio.run(scenario())
    assert broker.asked == 1


def test_partitions_that_ask_together_share_one_answer(broker):
    async def scenario():
        guard = guard_of(broker, 0)
        await asyncio.gather(*(guard.confirm("T1", 99.0) for _ in range(4)))

    asyncio.run(scenario())
    assert broker.asked == 1


def test_broker_that_is_away_confirms_nothing(broker):
    broker.topic_id = None
    with pytest.raises(BusUnavailable):
        asyncio.run(guard_of(broker, 0).confirm("T1", 99.0))


def test_watch_outlives_a_broker_that_is_away_and_ends_with_another_id(broker):
    async def scenario():
        seen = []

        def note(error):
            seen.append(error)
            broker.topic_id = "T1" if len(seen) == 1 else "T2"

        original = broker.ask

        async def ask():
            if broker.asked == 1:
                broker.topic_id = None
            if broker.asked == 3:
                broker.topic_id = "T2"
            return await original()

        guard = TopicGuard("ratings", ask, 0)
        with pytest.raises(TopicReplaced, match=r"had id T1.*again with id T2"):
            await guard.watch(0.0, note)
        return seen

    assert len(asyncio.run(scenario())) == 1
