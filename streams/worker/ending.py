"""Tasks ended for sure, though what they wait for may swallow a cancellation."""

import asyncio
from collections.abc import Iterable
from typing import Any

CANCEL_AGAIN_S = 0.2


async def end_tasks(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancel tasks, those that go on again and again, and return when all have ended.

    Before Python 3.12, ``asyncio.wait_for`` returns what it waited for when it is cancelled just as that is there. The
    store's client sends each command under one, so a task that calls the store may go on as if nobody had cancelled it.
    """
    ending = list(tasks)
    left = set(ending)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*ending, return_exceptions=True)
