"""Rows in which the broker stops, dies, changes its topics or cannot be reached as it should."""

import os
import random
import signal
import time
from collections.abc import Callable

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from services.admin.bus import open_admin
from streams.bus.clients import make_producer
from streams.bus.topics import create_topics, describe_topics, require_topic
from tests.faults.book import Message, draw_messages
from tests.faults.proxy import Proxy
from tests.faults.rows_store import BROKEN_S, _cut, _expect_halt, _hints, _silent, _slow
from tests.faults.rows_worker import pause
from tests.faults.stage import SESSION_S, PromiseBrokenError, Stage
from tests.integration.system import end
from tests.waiting import wait_until


def _stopped_for(shares: float):
    def row(stage: Stage, draws: random.Random) -> float:
        if "worker" not in stage.children:
            stage.worker()
        with stage.traffic(draws):
            pause(draws.uniform(0.2, 0.6))
            os.killpg(stage.servers.broker.pid, signal.SIGSTOP)
            try:
                pause(SESSION_S * shares)
            finally:
                os.killpg(stage.servers.broker.pid, signal.SIGCONT)
            since, mark = time.monotonic(), stage.progress()
            return stage.recovery_s(since, mark)

    return row


broker_stopped_shortly = _stopped_for(0.6)
broker_stopped_long = _stopped_for(3.0)


def kill_broker(stage: Stage, draws: random.Random) -> float:
    if "worker" not in stage.children:
        stage.worker()
    with stage.traffic(draws):
        pause(draws.uniform(0.2, 0.6))
        stage.servers.broker.kill()
        stage.servers.broker.restart()
        since, mark = time.monotonic(), stage.progress()
        return stage.recovery_s(since, mark)


def _network(break_: Callable[[Proxy, random.Random], None], *, waits: bool = True):
    """Return a row whose worker's fetches and group calls go through a proxy that is broken for a while."""

    def row(stage: Stage, draws: random.Random) -> float:
        name, port = f"worker{len(stage.children)}", stage.servers.broker.port
        with Proxy(port) as proxy:
            worker = stage.worker(name, FAULTS_BROKER=f"{port}:{proxy.port}")
            with stage.traffic(draws):
                pause(draws.uniform(0.1, 0.5))
                break_(proxy, draws)
                pause(BROKEN_S if waits else 0.1)
                mark = stage.progress()
                proxy.mend()
                seconds = stage.recovery_s(time.monotonic(), mark)
            stage.settle()
            worker.stop()
            if worker.returncode != 0:
                raise PromiseBrokenError(f"the worker ended with {worker.returncode}")
        return seconds

    return row


def _reset_after(proxy: Proxy, draws: random.Random) -> None:
    for _ in range(4):
        broken = proxy.broken
        proxy.reset_after = draws.randint(1, 5_000)
        wait_until(lambda broken=broken: proxy.broken > broken, 20, "the connection is reset")


def _lose_reply(proxy: Proxy, draws: random.Random) -> None:
    for _ in range(4):
        broken = proxy.broken
        proxy.lost_reply_to = b"ratings"
        wait_until(lambda broken=broken: proxy.broken > broken, 20, "a reply is lost")


broker_cut = _network(_cut)
broker_silent = _network(_silent)
broker_slow = _network(_slow)
broker_reset = _network(_reset_after, waits=False)
broker_reply_lost = _network(_lose_reply, waits=False)


def _start(stage: Stage, draws: random.Random):
    worker = stage.worker()
    with stage.traffic(draws, count=400):
        pass
    stage.settle()
    stage.check()
    wait_until(lambda: _hints(stage) > 0, 20, "the group has committed offsets")
    return worker


def _make_topic_again(stage: Stage) -> None:
    name = stage.topics["ratings"].name
    with open_admin(stage.settings) as admin:
        admin.delete_topics([name])
        wait_until(lambda: name not in describe_topics(admin, [name]), 20, "the topic is gone")
        create_topics(admin, stage.settings)
        stage.topics["ratings"] = require_topic(admin, name)


def topic_made_again_under_a_worker(stage: Stage, draws: random.Random) -> float:
    worker = _start(stage, draws)
    old = stage.topics["ratings"]
    since = time.monotonic()
    _make_topic_again(stage)
    topic, messages = stage.topics["ratings"].name, list(draw_messages(draws, 50, 3))
    for message in messages:
        stage.producer.send(topic, value=message.value, partition=message.partition)
    stage.producer.flush(timeout=20)
    _expect_halt(worker, "TopicReplaced")
    seconds = time.monotonic() - since
    stage.topics["ratings"] = old
    return seconds


def topic_made_again_while_down(stage: Stage, draws: random.Random) -> float:
    worker = _start(stage, draws)
    old = stage.topics["ratings"]
    end(worker)
    _make_topic_again(stage)
    since = time.monotonic()
    worker.restart()
    _expect_halt(worker, "TopicReplaced")
    stage.topics["ratings"] = old
    return time.monotonic() - since


def log_truncated(stage: Stage, draws: random.Random) -> float:
    """Retention removes records that were not applied."""
    worker = _start(stage, draws)
    end(worker)
    with stage.traffic(draws, count=400):
        pass

    with open_admin(stage.settings) as admin:
        name = stage.topics["ratings"].name
        admin.delete_records({TopicPartition(name, p): offset for p, offset in stage.book.ends().items()})
    marks, since = stage.watermarks(), time.monotonic()
    worker.restart()
    _expect_halt(worker, "EventsLost")
    seconds = time.monotonic() - since
    if stage.watermarks() != marks:
        raise PromiseBrokenError("the worker went over lost events")
    _forget_unapplied(stage, marks)
    return seconds


def _forget_unapplied(stage: Stage, marks: dict[int, int]) -> None:
    for partition, records in stage.book.records.items():
        for offset in [offset for offset in records if offset >= marks[partition]]:
            del records[offset]


def partitions_added(stage: Stage, draws: random.Random) -> float:
    """Users move to other partitions while the worker runs."""
    stage.worker()
    with stage.traffic(draws, count=600):
        pass
    name = stage.topics["ratings"].name
    with open_admin(stage.settings) as admin:
        admin.create_partitions({name: 5})
        wait_until(lambda: describe_topics(admin, [name])[name].partitions == 5, 20, "the topic has 5 partitions")
        stage.topics["ratings"] = require_topic(admin, name)
    since, mark = time.monotonic(), stage.progress()
    stage.producer.close(timeout=10)

    stage.producer = make_producer(stage.settings)
    with stage.traffic(draws, count=600):
        wait_until(lambda: min(stage.watermarks().values()) > 0, 60, "the new partitions are applied")
    assert stage.progress() > mark
    return time.monotonic() - since


def letters_refused(stage: Stage, draws: random.Random) -> float:
    """The broker takes no dead letters: the worker ends or waits, and drops nothing."""
    worker = stage.children.get("worker") or stage.worker()
    topic = stage.topics["ratings.dlq"].name
    _configure(stage, topic, "10")
    try:
        bad = Message(draws.randrange(3), b"{" + bytes(draws.randrange(97, 122) for _ in range(50)), reason="not_json")
        stage.send([bad])
        place = next((p, o) for (p, o), message in stage.book.bad().items() if message is bad)
        pause(BROKEN_S)
        if stage.watermarks()[place[0]] > place[1]:
            raise PromiseBrokenError("the watermark went over a bad record whose dead letter was refused")
    finally:
        _configure(stage, topic, "1048588")
    if worker.wait(3) is not None:
        if worker.returncode == 0:
            raise PromiseBrokenError("the worker ended with 0 when its dead letter was refused")
        worker.restart()
    since = time.monotonic()
    with stage.traffic(draws, count=300):
        pass
    stage.settle()
    return time.monotonic() - since


def _configure(stage: Stage, topic: str, most_bytes: str) -> None:

    with open_admin(stage.settings) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": most_bytes})])


def aborted_transactions(stage: Stage, draws: random.Random) -> float:
    """Records of transactions that were aborted lie between the others; those of committed ones count."""

    if "worker" not in stage.children:
        stage.worker()
    topic, since = stage.topics["ratings"].name, time.monotonic()
    producer = make_producer(stage.settings, transactional_id=f"t{draws.randrange(1 << 40)}")
    try:
        producer.init_transactions()
        with stage.traffic(draws, count=600):
            for number in range(8):
                producer.begin_transaction()
                messages = list(draw_messages(draws, 20, 3))
                sent = [producer.send(topic, value=m.value, partition=m.partition) for m in messages]
                producer.flush(timeout=20)
                if number % 2:
                    producer.commit_transaction()
                    for message, future in zip(messages, sent, strict=True):
                        stage.book.note(future.get(timeout=20).offset, message)
                else:
                    producer.abort_transaction()
    finally:
        producer.close(timeout=10)
    stage.settle()
    return time.monotonic() - since
