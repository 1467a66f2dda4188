import asyncio
import threading

import pytest

from streams.worker.watchdog import Watchdog

TICK_S = 0.01


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_a_loop_that_answers_no_call_is_hung(loop):
    hung = threading.Event()
    Watchdog(loop, 3, tick_s=TICK_S, on_hang=hung.set).start()
    assert hung.wait(10)


def test_a_loop_that_answers_is_left_alone(loop):
    hung, answered = threading.Event(), []
    watchdog = Watchdog(loop, 100, tick_s=TICK_S, on_hang=hung.set)
    answer = watchdog._answer

    def count():
        answer()
        answered.append(1)
        if len(answered) == 120:
            loop.stop()

    watchdog._answer = count
    watchdog.start()
    loop.run_forever()
    watchdog.stop()
    assert not hung.is_set()


def test_a_watchdog_that_was_stopped_calls_nobody(loop):
    hung = threading.Event()
    watchdog = Watchdog(loop, 1, tick_s=TICK_S, on_hang=hung.set)
    watchdog.start()
    watchdog.stop()
    watchdog._thread.join(10)
    assert not hung.is_set()
