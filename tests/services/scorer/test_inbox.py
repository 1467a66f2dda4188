from types import SimpleNamespace

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import GroupAuthorizationFailedError, KafkaTimeoutError, NodeNotReadyError, RebalanceInProgressError

import services.scorer.inbox
from schemas.errors import StreamrecError
from services.scorer.inbox import COMMIT_EVERY_S, Inbox
from streams.settings import Settings
from tests.waiting import wait_until


class FakeCoordinator:
    is_rebalancing = False
    rejoins = 0

    def rebalance_in_progress(self):
        return self.is_rebalancing

    def need_rejoin(self):
        return False

    def request_rejoin(self):
        self.rejoins += 1


class FakeSubscription:
    def __init__(self):
        self.assigned = {tp(0), tp(1), tp(2)}

    def assigned_partitions(self):
        return self.assigned

    def assign_from_subscribed(self, tps):
        self.assigned = set(tps)


class FakeConsumer:
    def __init__(self, **arguments):
        self.arguments = arguments
        self.polled = {}
        self.error = None
        self.committing = []
        self.committed = []
        self.held = set()
        self.closed = False
        self._coordinator = FakeCoordinator()
        self._subscription = FakeSubscription()

    def subscribe(self, topics, listener):
        self.topics, self.listener = topics, listener

    def partitions_for_topic(self, topic):
        assert [topic] == self.topics, "before the subscription the group's snapshot of the topic stays empty"
        if self.error:
            raise self.error
        return {0, 1}

    def assignment(self):
        return {TopicPartition("requests", 0), TopicPartition("requests", 1)}

    def pause(self, *tps):
        self.held |= set(tps)

    def resume(self, *tps):
        self.held -= set(tps)

    def paused(self):
        return set(self.held)

    def poll(self, timeout_ms, **_):
        self.timeout_ms = timeout_ms
        if self.error:
            raise self.error
        return self.polled

    def commit_async(self, offsets, callback):
        self.committing.append((offsets, callback))

    def commit(self, offsets, **_):
        if self.error:
            raise self.error
        self.committed.append({tp.partition: at.offset for tp, at in offsets.items()})

    def close(self, **_):
        self.closed = True


@pytest.fixture
def consumer(monkeypatch):
    made = []

    def make(_settings, **arguments):
        made.append(FakeConsumer(**arguments))
        return made[0]

    monkeypatch.setattr(services.scorer.inbox, "make_consumer", make)
    return lambda: made[0]


@pytest.fixture
def clock():
    """Seconds, counted at each look."""
    return SimpleNamespace(now_s=0.0, step_s=1.0)


@pytest.fixture
def inbox(consumer, clock):
    def now_s():
        clock.now_s += clock.step_s
        return clock.now_s

    return Inbox(Settings(session_timeout_s=6, rebalance_timeout_s=3, store_timeout_s=5), now_s)


def tp(partition):
    return TopicPartition("requests", partition)


def test_a_new_group_starts_at_the_earliest_request_with_short_timeouts(inbox, consumer):
    assert consumer().topics == ["requests"]
    assert consumer().arguments == {
        "group_id": "streamrec.scorer",
        "auto_offset_reset": "earliest",
        "max_poll_records": 256,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 1500,
        "max_poll_interval_ms": 30000,
    }


def test_a_poll_that_rejoins_asks_for_it_and_waits_longer(inbox, consumer):
    coordinator = consumer()._coordinator
    inbox.poll(0.02)
    assert (coordinator.rejoins, consumer().timeout_ms) == (0, 20)
    coordinator.is_rebalancing = True
    inbox.poll(0.02)
    assert (coordinator.rejoins, consumer().timeout_ms) == (1, 100)


@pytest.mark.integration
def test_group_that_met_before_it_knew_the_topic_meets_again_however_short_the_polls(topics, monkeypatch):
    monkeypatch.setattr(Inbox, "_learn_partitions", lambda _: None)
    inbox = Inbox(topics.model_copy(update={"session_timeout_s": 2}))
    consumer = inbox._consumer

    def has_met():
        inbox.poll(0.0)
        return len(consumer.assignment()) == topics.partitions

    try:
        wait_until(has_met, 15, "every partition is assigned")
    finally:
        inbox.close({}, 1.0)


@pytest.mark.integration
def test_first_meeting_of_the_group_assigns_every_partition(topics):
    inbox = Inbox(topics.model_copy(update={"session_timeout_s": 2}))
    assigned = []
    note = inbox._assignments.on_partitions_assigned
    inbox._assignments.on_partitions_assigned = lambda tps: (assigned.append(len(tps)), note(tps))
    try:
        wait_until(lambda: (inbox.poll(0.02), inbox.is_assigned)[1], 15, "the group has met")
    finally:
        inbox.close({}, 1.0)
    assert assigned == [topics.partitions]


def test_records_come_partition_by_partition(inbox, consumer):
    consumer().polled = {tp(1): ["c"], tp(0): ["a", "b"]}
    assert inbox.poll(0.1) == ["a", "b", "c"]


def test_while_held_every_partition_is_paused_and_resumed_after(inbox, consumer):
    inbox.poll(0.1, is_held=True)
    assert consumer().held == {tp(0), tp(1)}
    inbox.poll(0.1)
    assert consumer().held == set()


def test_errors_that_pass_are_waited_out_and_others_raised(inbox, consumer):
    consumer().error = NodeNotReadyError()
    assert inbox.poll(0.1) == []
    consumer().error = GroupAuthorizationFailedError()
    with pytest.raises(StreamrecError, match="topic 'requests' cannot be read"):
        inbox.poll(0.1)


def test_the_group_has_met_even_when_this_member_got_nothing(inbox, consumer):
    assert not inbox.is_assigned
    consumer().listener.on_partitions_assigned([])
    assert inbox.is_assigned


def test_revoked_and_lost_partitions_are_given_up_and_told_once(inbox, consumer):
    consumer().listener.on_partitions_revoked([tp(0), tp(2)])
    assert consumer()._subscription.assigned == {tp(1)}
    consumer().listener.on_partitions_lost([tp(1)])
    assert consumer()._subscription.assigned == set()
    assert inbox.take_revoked() == {0, 1, 2}
    assert inbox.take_revoked() == set()


class TestCommit:
    def test_one_commit_at_a_time_and_only_of_what_changed(self, inbox, consumer):
        inbox.commit({0: 5, 1: 7})
        inbox.commit({0: 6, 1: 7})
        ((offsets, callback),) = consumer().committing
        assert offsets == {tp(0): OffsetAndMetadata(5, "", -1), tp(1): OffsetAndMetadata(7, "", -1)}
        callback(offsets, SimpleNamespace())
        inbox.commit({0: 5, 1: 7})
        assert len(consumer().committing) == 1
        inbox.commit({0: 6, 1: 7})
        assert consumer().committing[1][0] == {tp(0): OffsetAndMetadata(6, "", -1)}

    def test_commits_are_some_time_apart(self, inbox, consumer, clock):
        clock.step_s = 0.0
        for at in (5, 6):
            inbox.commit({0: at})
            offsets, callback = consumer().committing[0]
            callback(offsets, None)
        clock.now_s = COMMIT_EVERY_S - 0.001
        inbox.commit({0: 7})
        assert len(consumer().committing) == 1
        clock.now_s = COMMIT_EVERY_S
        inbox.commit({0: 8})
        assert consumer().committing[1][0] == {tp(0): OffsetAndMetadata(8, "", -1)}

    def test_a_commit_refused_by_a_rebalance_is_tried_again(self, inbox, consumer):
        inbox.commit({0: 5})
        offsets, callback = consumer().committing[0]
        callback(offsets, RebalanceInProgressError())
        inbox.poll(0.1)
        inbox.commit({0: 5})
        assert len(consumer().committing) == 2

    def test_a_commit_that_is_not_allowed_ends_the_scorer(self, inbox, consumer):
        inbox.commit({0: 5})
        offsets, callback = consumer().committing[0]
        callback(offsets, GroupAuthorizationFailedError())
        with pytest.raises(StreamrecError, match="offsets cannot be committed"):
            inbox.poll(0.1)

    def test_a_partition_that_comes_back_is_committed_anew(self, inbox, consumer):
        inbox.commit({0: 5})
        offsets, callback = consumer().committing[0]
        callback(offsets, SimpleNamespace())
        consumer().listener.on_partitions_revoked([tp(0)])
        inbox.take_revoked()
        inbox.commit({0: 5})
        assert len(consumer().committing) == 2

    def test_closing_commits_and_leaves_the_group(self, inbox, consumer):
        inbox.close({0: 9}, 1.0)
        assert consumer().committed == [{0: 9}]
        assert consumer().closed

    def test_closing_leaves_the_group_when_the_commit_fails(self, inbox, consumer):
        consumer().error = KafkaTimeoutError()
        inbox.close({0: 9}, 1.0)
        assert consumer().closed
