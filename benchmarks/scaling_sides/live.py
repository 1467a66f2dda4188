"""How long partitions stand still, and requests wait, when members of a running system come and go."""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.ingest_sides.stage import Servers, wait_until
from schemas.events import RatingEvent
from services.admin.bus import open_admin
from services.loadtest.asking import RequestStream
from services.loadtest.replay import replay
from services.runtime.supervise import Child
from streams.bus.clients import make_producer
from streams.bus.topics import create_topics, require_topic
from streams.settings import Settings
from streams.store.clients import make_client
from streams.store.reader import StateReader

STREAMREC = (sys.executable, "-m", "services.cli.main")
RATINGS_A_SECOND, REQUESTS_A_SECOND = 2_000.0, 50.0
USERS, ITEMS = 1_000, 200
LOOK_S = 0.005
CALM_S = 3.0
MOVES_WITHIN_S = 2.0
END_S = 60.0

Do = Callable[[], object]


def measure_pauses(servers: Servers, repeats: int) -> dict[str, list[float]]:
    """Return seconds, one a repeat, by what happened to the second worker or the second scorer.

    Of workers it is the longest time between two moves of one partition's watermark; of scorers the longest time from
    when a request was due to its answer.
    """
    settings = servers.make_settings("pauses")
    with open_admin(settings) as admin:
        create_topics(admin, settings)
        topic = require_topic(admin, settings.topic("ratings"))
    found: dict[str, list[float]] = {}
    with _rating(settings), make_client(settings) as client:
        reader = StateReader(client, settings.namespace, settings.shards, topic.topic_id, topic.partitions)
        _change(servers, settings, "worker", lambda do: _longest_stand(reader, topic.partitions, do), repeats, found)
        stream = RequestStream(settings, REQUESTS_A_SECOND, map("u{}".format, itertools.cycle(range(USERS))).__next__)
        with servers.child("worker", [*STREAMREC, "worker"], settings):
            stream.start()
            _change(servers, settings, "scorer", lambda do: _longest_wait(stream, do), repeats, found)
            tally = stream.finish(END_S)
            assert tally.answered == tally.sent, f"{tally.sent - tally.answered} requests have no answer"
    return found


def _change(
    servers: Servers,
    settings: Settings,
    command: str,
    watch: Callable[[Do], float],
    repeats: int,
    found: dict[str, list[float]],
) -> None:
    """End, start and kill the second of two members in turn."""
    ready = f"{command}.ready"
    argv = [*STREAMREC, command]
    with (
        servers.child(f"first {command}", argv, settings) as first,
        servers.child(f"second {command}", argv, settings) as second,
    ):
        for child in (first, second):
            child.wait_for_event(ready)

        def come() -> None:
            second.restart()
            second.wait_for_event(ready)

        changes: dict[str, Do] = {
            f"a {command} is told to end": lambda: _end(second),
            f"a {command} joins": come,
            f"a {command} is killed": second.kill,
        }
        for _ in range(repeats):
            found.setdefault(f"nothing happens to a {command}", []).append(watch(lambda: None))
            for name, do in changes.items():
                found.setdefault(name, []).append(watch(do))
            watch(come)


def _end(child: Child) -> None:
    child.terminate()
    assert child.wait(END_S) == 0


@contextmanager
def _rating(settings: Settings) -> Iterator[None]:
    """Publish ratings steadily meanwhile."""
    stop = threading.Event()
    producer = make_producer(settings)
    events = (
        RatingEvent(user_id=f"u{number % USERS}", item_id=f"i{number % ITEMS}", rating=4.0)
        for number in itertools.count()
    )
    how: dict[str, Any] = {"rate": RATINGS_A_SECOND, "stop": stop}
    work = threading.Thread(target=replay, args=(events, producer, settings.topic("ratings")), kwargs=how)
    work.start()
    try:
        yield
    finally:
        stop.set()
        work.join(END_S)
        producer.close(timeout=10)


def _longest_stand(reader: StateReader, partitions: int, do: Do) -> float:
    """Return the longest time between two moves of one watermark, until all move again for a while."""
    done = threading.Thread(target=do)
    seen: dict[int, int] = {}
    moved = dict.fromkeys(range(partitions), time.monotonic())
    longest = 0.0
    calm_since = time.monotonic()
    done.start()

    def is_calm() -> bool:
        nonlocal longest, calm_since
        now = time.monotonic()
        for partition, offset in reader.read((), all_shards=True).shards[0].watermarks.items():
            if offset != seen.get(partition):
                longest = max(longest, now - moved[partition])
                seen[partition], moved[partition] = offset, now
        if done.is_alive() or now - min(moved.values()) > MOVES_WITHIN_S:
            calm_since = now
        return now - calm_since > CALM_S

    wait_until(is_calm, END_S, "every watermark moves again", LOOK_S)
    done.join()
    return longest


def _longest_wait(stream: RequestStream, do: Do) -> float:
    """Return the longest latency of the requests answered until all that were sent are, and a while after."""
    before = len(stream.tally.latencies_ms)
    do()
    calm_since = time.monotonic()

    def is_calm() -> bool:
        nonlocal calm_since
        stream.check()
        now = time.monotonic()
        if stream.tally.sent - stream.tally.answered > REQUESTS_A_SECOND * MOVES_WITHIN_S:
            calm_since = now
        return now - calm_since > CALM_S

    wait_until(is_calm, END_S, "requests are answered again", LOOK_S)
    return max(stream.tally.latencies_ms[before:]) / 1000
