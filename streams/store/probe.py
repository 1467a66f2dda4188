"""A look at the state for those who ask how a process is: whether the store answers, and how old each shard is."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from redis import RedisError

from schemas.errors import StoreUnavailable
from streams.bus.topics import TopicInfo
from streams.settings import Settings
from streams.store.calls import as_unavailable
from streams.store.clients import make_client
from streams.store.reader import StateReader

LOOK_EVERY_S = 1.0
LONGEST_CALL_S = 1.0
"""Who asks whether a process is ready waits seconds at most, so the probe gives up sooner than the work does."""


class StateProbe:
    """Looks when asked, at most once a second, by a client of its own; the work is not held up.

    Args:
        connect: makes a reader of the state, when it is first wanted: a client of a cluster connects when it is made.
        clock: seconds that only grow.
    """

    def __init__(self, connect: Callable[[], StateReader], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._reader: StateReader | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_s = -float("inf")
        self._fault = ""
        self._ages_ms: dict[int, float] = {}

    def faults(self) -> list[str]:
        """Return that the store does not answer; nothing when it does."""
        with self._lock:
            self._look()
            return [self._fault] if self._fault else []

    def ages_s(self) -> dict[int, float]:
        """Return the age of each shard that has a watermark, while the store answers."""
        with self._lock:
            self._look()
            since_s = self._clock() - self._looked_s
            return {} if self._fault else {shard: age / 1000 + since_s for shard, age in self._ages_ms.items()}

    def _look(self) -> None:
        if self._clock() - self._looked_s < LOOK_EVERY_S:
            return
        try:
            with as_unavailable():
                self._reader = self._reader or self._connect()
                shards = self._reader.read((), all_shards=True).shards
        except (StoreUnavailable, RedisError) as error:
            self._fault = str(error)
        else:
            self._fault = ""
            self._ages_ms = {shard: view.age_ms for shard, view in shards.items() if view.age_ms is not None}
        self._looked_s = self._clock()


@contextlib.contextmanager
def open_probe(settings: Settings, ratings: TopicInfo) -> Iterator[StateProbe]:
    """Yield a probe of the state of a ratings topic, with a client that is closed after the block."""
    patient = settings.model_copy(update={"store_timeout_s": min(LONGEST_CALL_S, settings.store_timeout_s)})
    with contextlib.ExitStack() as cleanup:

        def connect() -> StateReader:
            client = make_client(patient)
            cleanup.callback(client.close)
            return StateReader(client, settings.namespace, settings.shards, ratings.topic_id, ratings.partitions)

        yield StateProbe(connect)
