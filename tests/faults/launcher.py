"""Runs a command of streamrec with places where the fault suite can end, hold or change it; the product has no switch.

The suite writes what shall happen next to the file named by ``FAULTS_ARM``: at which point, at which passage of it, and
whether to kill, to hold (the event loop goes on) or to block (it does not) until the file is removed. A kill happens
once: the process finds the file renamed when it runs again. ``FAULTS_MUTATION`` takes one guard out.
"""

import asyncio
import json
import os
import signal
import time
from asyncio.base_events import BaseEventLoop
from pathlib import Path

from services.cli.main import main
from streams.store.writer import StateWriter
from streams.worker.transport import WorkerConsumerThread, WorkerProducer
from tests.faults.mutations import MUTATIONS

ARM = Path(os.environ.get("FAULTS_ARM", "nothing.arm"))
POLL_S = 0.01
TAKEN = ARM.with_suffix(".taken")
_passed = {}
_held = {}


def next_step(point: str, partition: str) -> str | None:
    """Return what to do at this passage of a point; while one is held, others of its kind are held, too."""
    if TAKEN.exists() and _held.get("at") == point and _held["partition"] in {None, partition}:
        return str(_held["do"])
    try:
        arm = json.loads(ARM.read_text())
    except FileNotFoundError:
        return None
    if arm["at"] != point or arm["partition"] not in (None, partition):
        return None
    _passed[arm["token"]] = passed = _passed.get(arm["token"], 0) + 1
    if passed < arm["after"]:
        return None
    _held.update(arm)
    try:
        ARM.rename(TAKEN)
    except FileNotFoundError:
        return None
    return str(arm["do"])


async def reach(point: str, partition: str = "") -> str | None:
    """Do what shall be done at a point, and return what it was."""
    action = next_step(point, partition)
    if action is None:
        return None
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while TAKEN.exists():
        if action == "block":
            time.sleep(POLL_S)  # noqa: ASYNC251 - to block the loop is the fault
        else:
            await asyncio.sleep(POLL_S)
    return action


def place_points() -> None:
    commit, hint, send = StateWriter.commit, WorkerConsumerThread.commit_hint, WorkerProducer.send_and_wait

    async def commit_between_points(writer, claim, expected, new, user_ids=(), *rest, **named):
        partition = claim.watermark.rpartition(":")[2]
        action = await reach("before_script", partition) if len(user_ids) else None
        work = commit(writer, claim, expected, new, user_ids, *rest, **named)
        if action == "block":
            work = asyncio.shield(asyncio.ensure_future(work))  # it has left: a revocation comes too late
        await work
        if len(user_ids):
            await reach("after_script", partition)

    async def hint_after_point(thread, offsets):
        await reach("before_hint")
        await hint(thread, offsets)

    async def send_before_point(producer, *letter):
        sent = await send(producer, *letter)
        await reach("in_dead_letter")
        return sent

    StateWriter.commit = commit_between_points
    WorkerConsumerThread.commit_hint = hint_after_point
    WorkerProducer.send_and_wait = send_before_point


def redirect_broker(ports: str) -> None:
    """Take aiokafka's connections to the broker through the suite's proxy: the broker names its own port to clients."""
    broker, proxy = map(int, ports.split(":"))
    connect = BaseEventLoop.create_connection

    async def through_the_proxy(loop, factory, host=None, port=None, **named):
        return await connect(loop, factory, host, proxy if port == broker else port, **named)

    BaseEventLoop.create_connection = through_the_proxy


def move_clock(seconds: float) -> None:
    """Let this process see another time of day."""
    now = time.time
    time.time = lambda: now() + seconds


if __name__ == "__main__":
    place_points()
    if mutation := os.environ.get("FAULTS_MUTATION"):
        MUTATIONS[mutation].apply()
    if ports := os.environ.get("FAULTS_BROKER"):
        redirect_broker(ports)
    if seconds := os.environ.get("FAULTS_CLOCK_S"):
        move_clock(float(seconds))
    main()
