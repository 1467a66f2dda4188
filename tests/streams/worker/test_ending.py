"""Tasks that swallow a cancellation are ended all the same."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.worker import ending as module
from streams.worker.ending import end_tasks
from streams.worker.transport import WorkerConsumer


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(module, "CANCEL_AGAIN_S", 0.001)


async def swallowing(times):
    """Return a task that goes on after so many cancellations."""

    async def work():
        for _ in range(times):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    return task


def test_task_that_swallows_cancellations_is_ended():
    async def scenario():
        tasks = [await swallowing(times) for times in range(4)]
        async with asyncio.timeout(10):
            await end_tasks(tasks)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(scenario()) == [True] * 4


def test_no_tasks_and_ended_ones_are_nothing_to_wait_for():
    async def scenario():
        task = asyncio.create_task(asyncio.sleep(0, "done"))
        await task
        await end_tasks([])
        await end_tasks([task])
        return task.result()

    assert asyncio.run(scenario()) == "done"


def test_revocation_returns_though_a_runner_swallows_its_cancellation():
    async def scenario():
        runner = await swallowing(1)
        committed = []

        async def commit():
            committed.append(runner.done())

        dropped, tp = [], TP("ratings", 3)
        transport = SimpleNamespace(progress=SimpleNamespace(drop=dropped.append))
        consumer = SimpleNamespace(
            _runners={tp: runner}, _logs={tp: None}, _hinted={tp: 7}, commit=commit, transport=transport
        )
        try:
            async with asyncio.timeout(10):
                await WorkerConsumer._end_runners(consumer, {tp})
        finally:
            runner.cancel()
        return committed, consumer._runners, consumer._logs, consumer._hinted, dropped

    assert asyncio.run(scenario()) == ([True], {}, {}, {}, [3])
