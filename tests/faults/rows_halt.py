"""Rows that end in a halt: store, topic or log is not the one the state belongs to."""

import random
import time

from kafka import TopicPartition

from services.admin.bus import open_admin
from services.runtime.supervise import Child
from streams.bus.topics import create_topics, describe_topics, require_topic
from tests.faults.book import draw_messages
from tests.faults.stage import PromiseBrokenError, Stage
from tests.integration.system import end
from tests.waiting import wait_until

HALT = 3


def _applied(stage: Stage, draws: random.Random) -> Child:
    """Return a worker that has applied some records and committed offsets."""
    worker = stage.worker()
    with stage.traffic(draws, count=400):
        pass
    stage.settle()
    stage.check()
    wait_until(lambda: _group_offset(stage) > 0, 20, "the group has committed offsets")
    return worker


def _group_offset(stage: Stage) -> int:
    """The smallest offset the workers' group has committed; -1 for none."""
    group = stage.settings.group_worker
    with open_admin(stage.settings) as admin:
        return min((at.offset for at in admin.list_group_offsets([group])[group].values()), default=-1)


def _halt_s(worker: Child, kind: str) -> float:
    """Return the seconds until a worker halts for this reason."""
    since = time.monotonic()
    said = worker.wait_for_event("worker.halted", 30)
    code = worker.wait(10)
    if (said["kind"], code) != (kind, HALT):
        raise PromiseBrokenError(
            f"the worker ended with {code}, {said['kind']}: {said['why']}; expected {HALT}, {kind}"
        )
    return time.monotonic() - since


def flushed(stage: Stage, draws: random.Random) -> float:
    """Everything is gone: the worker halts, and halts again when it is only started again."""
    worker = _applied(stage, draws)
    stage.store.flushall()
    seconds = _halt_s(worker, "StateMissing")
    worker.restart()
    _halt_s(worker, "StateMissing")
    if stage.progress() != 0 or stage.store.dbsize() != 0:
        raise PromiseBrokenError(f"a worker on an emptied store wrote: {stage.store.keys()[:5]}")
    return seconds


def _make_topic_again(stage: Stage) -> str:
    """Return the name of the topic; the stage still has the old one, whose state must stay as it was."""
    name = stage.topics["ratings"].name
    with open_admin(stage.settings) as admin:
        admin.delete_topics([name])
        wait_until(lambda: name not in describe_topics(admin, [name]), 20, "the topic is gone")
        create_topics(admin, stage.settings)
        require_topic(admin, name)
    return name


def topic_made_again_under_a_worker(stage: Stage, draws: random.Random) -> float:
    worker, since = _applied(stage, draws), time.monotonic()
    name = _make_topic_again(stage)
    for message in draw_messages(draws, 50, 3):
        stage.producer.send(name, value=message.value, partition=message.partition)
    stage.producer.flush(timeout=20)
    _halt_s(worker, "TopicReplaced")
    return time.monotonic() - since


def topic_made_again_while_down(stage: Stage, draws: random.Random) -> float:
    worker = _applied(stage, draws)
    end(worker)
    _make_topic_again(stage)
    worker.restart()
    return _halt_s(worker, "TopicReplaced")


def log_truncated(stage: Stage, draws: random.Random) -> float:
    """Retention removes records that were not applied."""
    worker = _applied(stage, draws)
    end(worker)
    with stage.traffic(draws, count=400):
        pass
    name = stage.topics["ratings"].name
    with open_admin(stage.settings) as admin:
        admin.delete_records({TopicPartition(name, p): offset for p, offset in stage.book.ends().items()})
    marks = stage.watermarks()
    worker.restart()
    seconds = _halt_s(worker, "EventsLost")
    if stage.watermarks() != marks:
        raise PromiseBrokenError("the worker went over lost events")
    _forget_unapplied(stage, marks)
    return seconds


def _forget_unapplied(stage: Stage, marks: dict[int, int]) -> None:
    for partition, records in stage.book.records.items():
        for offset in [offset for offset in records if offset >= marks[partition]]:
            del records[offset]
