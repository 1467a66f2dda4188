"""Replaying a log: order, schedule, and what is known of every event in the end."""

import json
import threading

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from kafka.future import Future

from schemas.codec import RatingDecoder
from schemas.events import RatingEvent
from services.loadtest.replay import replay
from streams.bus.clients import make_consumer, make_producer


def events(*times_ms):
    return [RatingEvent(user_id=f"u{i % 2}", item_id="i", rating=4.0, ts_ms=ts_ms) for i, ts_ms in enumerate(times_ms)]


class Clock:
    """A clock that moves when someone waits, or by ``cost_s`` with every send."""

    def __init__(self, cost_s=0.0):
        self.now = 100.0
        self.cost_s = cost_s
        self.waits = []

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


class MemoryFuture(Future):
    """An outcome that is either known or never will be."""

    def get(self, timeout):
        if not self.is_done:
            raise KafkaTimeoutError(f"not within {timeout}")
        if self.failed():
            raise self.exception
        return self.value


class MemoryProducer:
    """Acknowledges what it is sent: ``at once``, on ``flush``, or ``never``; refuses what ``refused`` names."""

    def __init__(self, clock, *, settles="at once", refused=()):
        self.clock = clock
        self.settles = settles
        self.refused = refused
        self.sent = []
        self.futures = []

    def send(self, topic, **record):
        assert set(record) == {"key", "value"}, "neither timestamp nor partition are ours to set"
        number = len(self.sent)
        self.sent.append((self.clock(), topic, record["key"], record["value"]))
        self.clock.now += self.clock.cost_s
        if number in self.refused and self.refused[number] == "send":
            raise MessageSizeTooLargeError("too large")
        future = MemoryFuture()
        self.futures.append((future, number))
        if self.settles == "at once":
            self._settle()
        return future

    def flush(self, timeout):  # noqa: ARG002 - the producer's signature
        if self.settles == "never":
            raise KafkaTimeoutError("no flush")
        self._settle()

    def _settle(self):
        for future, number in self.futures:
            if not future.is_done:
                future.failure(KafkaTimeoutError("late")) if number in self.refused else future.success(None)


def run(log, *, cost_s=0.0, settles="at once", refused=(), **arguments):
    clock = Clock(cost_s)
    producer = MemoryProducer(clock, settles=settles, refused=refused)
    done = replay(iter(log), producer, "ratings", clock=clock, wait=clock.wait, **arguments)
    return done, producer, clock


def test_events_go_out_in_order_with_the_user_as_key():
    done, producer, clock = run(events(1, 2, 3))
    assert [(topic, key) for _, topic, key, _ in producer.sent] == [
        ("ratings", b"u0"),
        ("ratings", b"u1"),
        ("ratings", b"u0"),
    ]
    assert [json.loads(value)["ts_ms"] for *_, value in producer.sent] == [1, 2, 3]
    assert (done.sent, done.published, done.errors, clock.waits) == (3, 3, 0, [])


def test_rate_spaces_events_evenly():
    _, producer, _ = run(events(0, 0, 0, 0), rate=4)
    assert [at for at, *_ in producer.sent] == [100.0, 100.25, 100.5, 100.75]


def test_schedule_is_open_so_that_a_slow_send_is_caught_up():
    # Due at 0, 0.1, 0.2 and 0.3 s; each send costs 0.15 s, so that from the second on all go out without a pause.
    _, producer, clock = run(events(0, 0, 0, 0), rate=10, cost_s=0.15)
    assert [round(at - 100, 9) for at, *_ in producer.sent] == [0.0, 0.15, 0.3, 0.45]
    assert clock.waits == []


def test_speed_keeps_the_rhythm_of_the_log():
    _, producer, _ = run(events(5_000, 6_000, 6_000, 9_000), speed=2)
    assert [at - 100 for at, *_ in producer.sent] == [0.0, 0.5, 0.5, 2.0]


def test_time_that_runs_backwards_or_is_missing_stands_still():
    _, producer, _ = run(events(None, 5_000, 7_000, 6_000, None, 8_000), speed=1)
    assert [at - 100 for at, *_ in producer.sent] == [0.0, 0.0, 2.0, 2.0, 2.0, 3.0]


def test_every_outcome_is_counted_and_the_first_reason_kept():
    done, _, _ = run(events(*range(5)), settles="on flush", refused={1: "send", 3: "later"})
    assert (done.sent, done.published, done.errors) == (5, 3, 2)
    assert "too large" in done.first_error


def test_what_is_never_acknowledged_is_an_error():
    done, _, _ = run(events(1, 2), settles="never")
    assert (done.sent, done.published, done.errors) == (2, 0, 2)


def test_no_events_are_no_error():
    done, _, _ = run([])
    assert (done.sent, done.published, done.errors, done.rate) == (0, 0, 0, 0.0)


def test_stop_ends_the_replay_early():
    stop = threading.Event()

    def log():
        yield from events(1, 2)
        stop.set()
        yield from events(3, 4)

    done, producer, _ = run(log(), stop=stop)
    assert done.published == len(producer.sent) == 2


def test_progress_is_told_ten_times_a_second_and_at_the_end():
    told = []
    run(events(*[0] * 11), rate=16, on_progress=told.append)  # one event every 1/16 s, so that 2/16 s pass 0.1 s
    assert [progress.sent for progress in told] == [3, 5, 7, 9, 11, 11]
    assert told[-1].published == 11


def test_rate_is_what_was_acknowledged_a_second():
    done, _, _ = run(events(0, 0, 0), rate=2)
    assert (done.seconds, done.rate) == (1.0, 3.0)


@pytest.mark.parametrize(
    "pace", [{"rate": 0}, {"rate": -1}, {"speed": 0}, {"rate": 1, "speed": 1}, {"rate": float("nan")}]
)
def test_impossible_pace_is_refused(pace):
    with pytest.raises(ValueError, match=r"rate|speed"):
        run(events(1), **pace)


@pytest.mark.integration
def test_log_arrives_whole_and_in_order_of_each_user(topics):
    sent = [RatingEvent(user_id=f"u{i % 7}", item_id=f"i{i}", rating=4.0, ts_ms=867_000_000_000) for i in range(500)]
    producer = make_producer(topics)
    done = replay(sent, producer, topics.topic("ratings"))
    producer.close()
    assert (done.published, done.errors) == (500, 0)
    records = read_all(topics, topics.topic("ratings"))
    assert min(record.timestamp for record in records) > 1_600_000_000_000, "1997 belongs in the value only"
    decode = RatingDecoder(0.5, 5.0).decode
    for user in {event.user_id for event in sent}:
        got = [decode(record.value) for record in records if record.key == user.encode()]
        assert got == [event for event in sent if event.user_id == user]


def read_all(settings, topic):
    """Return every record of a topic, each partition in order."""
    consumer = make_consumer(settings)
    try:
        tps = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic)]
        consumer.assign(tps)
        consumer.seek_to_beginning(*tps)
        ends = consumer.end_offsets(tps)
        records = []
        while len(records) < sum(ends.values()):
            for batch in consumer.poll(timeout_ms=500).values():
                records += batch
    finally:
        consumer.close()
    return records
