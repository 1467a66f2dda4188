"""Rows in which the broker stops, gets partitions, or does not take what it should."""

import os
import random
import signal
import time

from kafka.admin import ConfigResource, ConfigResourceType

from services.admin.bus import open_admin
from streams.bus.clients import make_producer
from streams.bus.topics import describe_topics, require_topic
from tests.faults.book import Message, draw_messages
from tests.faults.rows_network import BROKEN_S
from tests.faults.stage import SESSION_S, PromiseBrokenError, Stage, pause
from tests.waiting import wait_until


def _stopped_for(shares: float):
    def row(stage: Stage, draws: random.Random) -> float:
        stage.first_worker()
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
    stage.producer = stage.make_producer()
    with stage.traffic(draws, count=600):
        wait_until(lambda: min(stage.watermarks().values()) > 0, 60, "the new partitions are applied")
    assert stage.progress() > mark
    return time.monotonic() - since


def letters_refused(stage: Stage, draws: random.Random) -> float:
    """The broker takes no dead letters: the worker ends or waits, and drops nothing."""
    worker = stage.first_worker()
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
    stage.first_worker()
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
