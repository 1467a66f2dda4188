"""The row that needs a cluster of stores."""

import os
import random
import signal
import time

from streams.store.keys import ShardKeys
from tests.faults.cluster import PRIMARIES, Cluster
from tests.faults.stage import FaultMissedError, Stage, pause
from tests.waiting import wait_until


def kill_primary(stage: Stage, draws: random.Random) -> float:
    """A primary dies while its replica lacks the newest writes; the replica takes over."""
    directory = stage.directory / f"cluster{draws.randrange(1 << 40):x}"
    with Cluster(directory) as cluster:
        inner = Stage(stage.servers, directory / "stage", mutation=stage.mutation, redis_url=cluster.url)
        try:
            workers = [inner.worker("worker"), inner.worker("second")]
            with inner.traffic(draws, count=2000):
                pause(draws.uniform(0.3, 0.6))
                number = cluster.primary_of(ShardKeys(inner.settings.namespace, 0).live_generation)
                replica = cluster.nodes[PRIMARIES + number]
                os.kill(replica.pid, signal.SIGSTOP)
                cluster.clients[number].execute_command("CLIENT KILL TYPE replica")
                mark = inner.progress()
                wait_until(lambda: inner.progress() > mark + 100, 20, "writes the replica lacks")
                mark, since = inner.progress(), time.monotonic()
                cluster.nodes[number].kill()
                os.kill(replica.pid, signal.SIGCONT)
                seconds = inner.recovery_s(since, mark)
            inner.settle()
            inner.end_workers()
            inner.check()
            if not any(event.get("event") == "session.ended" for child in workers for event in child.events()):
                raise FaultMissedError("the replica lacked nothing, so nothing was repaired")
        finally:
            inner.close()
    return seconds
