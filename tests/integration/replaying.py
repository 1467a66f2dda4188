"""A log of generated ratings that goes through a system while things happen to it."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import pandas as pd

from services.lab.datasets import rating_events
from services.lab.digest import Digest, expected_digest
from services.lab.synthetic import Sizes, generate
from services.loadtest.asking import RequestStream
from services.loadtest.replay import replay
from streams.bus.clients import make_producer
from streams.settings import Settings

JOIN_S = 60.0


class Log:
    """What was published so far, and the state it must lead to.

    Args:
        seeds: one stretch of the log is generated from each, all of the same people and films.
        sizes: of each stretch.
    """

    def __init__(self, seeds: int, sizes: Sizes) -> None:
        self.items = generate(0, sizes)[0]
        self.stretches = [generate(seed, sizes)[1] for seed in range(seeds)]
        self._published: list[pd.DataFrame] = []

    @property
    def records(self) -> int:
        """Ratings published."""
        return sum(len(stretch) for stretch in self._published)

    @property
    def item_ids(self) -> list[str]:
        return [item.item_id for item in self.items]

    def expected(self) -> Digest:
        """The digest computed from what was published, by code that shares nothing with the worker."""
        return expected_digest(pd.concat(self._published))

    @contextlib.contextmanager
    def publishing(self, settings: Settings, stretch: int, rate: float | None) -> Iterator[None]:
        """Publish a stretch beside what the block does; all of it was acknowledged afterwards."""
        ratings = self.stretches[stretch]
        self._published.append(ratings)
        producer = make_producer(settings)
        done = []
        work = threading.Thread(
            target=lambda: done.append(replay(rating_events(ratings), producer, settings.topic("ratings"), rate=rate)),
            name="replay",
        )
        work.start()
        try:
            yield
        finally:
            work.join(JOIN_S)
            producer.close(timeout=10)
        assert [progress.published for progress in done] == [len(ratings)]


@contextlib.contextmanager
def asking(settings: Settings, rate: float, next_user: Callable[[], str]) -> Iterator[RequestStream]:
    """Ask for recommendations beside what the block does, which ends by finishing the stream."""
    stream = RequestStream(settings, rate, next_user)
    stream.start()
    try:
        yield stream
    except BaseException:
        stream.finish(timeout_s=0.0)
        raise
