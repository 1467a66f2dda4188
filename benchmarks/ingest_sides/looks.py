"""A reader that looks at the watermarks every millisecond, by one MGET on a socket of its own, and notes each change.

Values are compared as they come; what they say is read from those that changed. A look's time is when its answer is
there.
"""

import socket
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import hiredis
import numpy as np

from benchmarks.ingest_sides.progress import hold_signals, say, wait_to_go
from streams.store.writer import Watermark

LOOK_EVERY_S = 0.001
RECEIVE_BYTES = 65_536
SOCKET_TIMEOUT_S = 5.0


def look(redis_url: str, keys: list[str]) -> Iterator[list[bytes]]:
    """Yield the values of the keys, all at one instant, every millisecond.

    Raises:
        ConnectionError: the store closed the connection.
    """
    where = urlsplit(redis_url)
    connection = socket.create_connection((where.hostname, where.port), SOCKET_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    command = hiredis.pack_command(("MGET", *keys))
    reader = hiredis.Reader()
    while True:
        connection.sendall(command)
        found = False
        while found is False:
            received = connection.recv(RECEIVE_BYTES)
            if not received:
                raise ConnectionError("the store closed the connection")
            reader.feed(received)
            found = reader.gets()
        yield found
        time.sleep(LOOK_EVERY_S)


def main(redis_url: str, target: str, kept: str, *keys: str) -> None:
    """Look until the offsets reach ``target`` together, and write times and offsets at the parent's word.

    Args:
        redis_url: where the store is.
        target: sum of the next offsets at which to stop.
        kept: file to write.
        keys: the watermark of each partition.
    """
    hold_signals()
    times: list[float] = []
    marks: list[list[int]] = []
    seen: list[bytes] = []
    say("side.ready")
    for looked in look(redis_url, list(keys)):
        if looked == seen:
            continue
        times.append(time.monotonic())
        seen = looked
        marks.append([Watermark.parse(value).next_offset for value in looked])
        if sum(marks[-1]) >= int(target):
            break
    say("side.seen")
    wait_to_go()
    np.savez(kept, times=times, marks=marks)
    say("side.done")


if __name__ == "__main__":
    main(*sys.argv[1:])
