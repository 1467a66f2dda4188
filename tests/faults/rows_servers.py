"""Rows in which a server dies and comes back."""

import random
import time
from collections.abc import Callable

from services.runtime.engine import Engine
from tests.faults.stage import Servers, Stage, pause


def _kill(of: Callable[[Servers], Engine]):
    def row(stage: Stage, draws: random.Random) -> float:
        stage.first_worker()
        server = of(stage.servers)
        with stage.traffic(draws):
            pause(draws.uniform(0.2, 0.8))
            server.kill()
            server.restart()
            since, mark = time.monotonic(), stage.progress()
            return stage.recovery_s(since, mark)

    return row


kill_store = _kill(lambda servers: servers.store)
kill_broker = _kill(lambda servers: servers.broker)
