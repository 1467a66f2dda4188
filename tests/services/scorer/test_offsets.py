from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.scorer.offsets import OffsetTracker


def test_nothing_is_committable_before_anything_came():
    assert OffsetTracker().committable() == {}


def test_offsets_stay_below_the_lowest_unanswered_request_of_each_partition():
    tracker = OffsetTracker()
    for partition, offset in ((0, 10), (0, 11), (0, 12), (1, 4)):
        tracker.receive(partition, offset)
    tracker.answer(0, 11)
    tracker.answer(0, 12)
    tracker.answer(1, 4)
    assert tracker.committable() == {0: 10, 1: 5}
    tracker.answer(0, 10)
    assert tracker.committable() == {0: 13, 1: 5}
    assert tracker.unanswered == 0


def test_a_rewound_log_begins_the_partition_anew():
    tracker = OffsetTracker()
    tracker.receive(0, 10)
    tracker.receive(0, 3)
    assert tracker.committable() == {0: 3}
    assert tracker.unanswered == 1


def test_the_answer_of_a_request_of_another_session_says_nothing():
    tracker = OffsetTracker()
    tracker.receive(0, 10)
    tracker.drop(0)
    tracker.answer(0, 10)
    assert tracker.committable() == {}
    tracker.receive(0, 10)
    assert tracker.committable() == {0: 10}


class TrackedLog(RuleBasedStateMachine):
    """The tracker beside sets of offsets, over any order of coming, answering, losing and rewinding."""

    def __init__(self):
        super().__init__()
        self.tracker = OffsetTracker()
        self.received = {}
        self.answered = {}

    @rule(partition=st.integers(0, 2), gap=st.integers(0, 3))
    def receive(self, partition, gap):
        offset = max(self.received.get(partition, {-1})) + 1 + gap
        self.received.setdefault(partition, set()).add(offset)
        self.answered.setdefault(partition, set())
        self.tracker.receive(partition, offset)

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def answer(self, data):
        partition = data.draw(st.sampled_from(sorted(self.received)))
        offset = data.draw(st.sampled_from(sorted(self.received[partition])))
        self.answered[partition].add(offset)
        self.tracker.answer(partition, offset)

    @rule(partition=st.integers(0, 3), offset=st.integers(1000, 1010))
    def answer_what_never_came(self, partition, offset):
        self.tracker.answer(partition, offset)

    @rule(partition=st.integers(0, 2))
    def lose(self, partition):
        self.received.pop(partition, None)
        self.answered.pop(partition, None)
        self.tracker.drop(partition)

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def rewind(self, data):
        partition = data.draw(st.sampled_from(sorted(self.received)))
        offset = data.draw(st.integers(0, max(self.received[partition])))
        self.received[partition], self.answered[partition] = {offset}, set()
        self.tracker.receive(partition, offset)

    @invariant()
    def nothing_unanswered_lies_below_what_is_committable(self):
        expected = {
            partition: min(offsets - self.answered[partition], default=max(offsets) + 1)
            for partition, offsets in self.received.items()
        }
        assert self.tracker.committable() == expected

    @invariant()
    def the_unanswered_are_counted(self):
        assert self.tracker.unanswered == sum(
            len(offsets - self.answered[partition]) for partition, offsets in self.received.items()
        )


TrackedLog.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestTrackedLog = TrackedLog.TestCase
