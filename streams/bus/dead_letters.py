"""Dead letters: the verbatim bytes of a bad record, with where it came from and why it was refused."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

MAX_LETTER_BYTES = 900_000
MAX_KEY_BYTES = 16 * 1024

try:
    CODE_VERSION = version("streamrec")
except PackageNotFoundError:  # run from a source tree that was not installed
    CODE_VERSION = "0"

Headers = list[tuple[str, bytes]]

REDRIVE_HEADER = "streamrec-redrive"
"""On a record: it is a dead letter's bytes sent again; the value is the key of the first such letter."""

_COORDINATES = re.compile(rb"[^/\s]{1,128}/\d{1,10}/\d{1,20}")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of a dead-letter topic, as a producer takes it."""

    key: bytes
    value: bytes | None
    headers: Headers


def redrive_of(headers: Iterable[tuple[str, bytes]]) -> bytes | None:
    """Return the coordinates that a redriven record carries; None without any, or when they are not of their form.

    >>> redrive_of([("streamrec-redrive", b"01a207b3/2/88")]), redrive_of([("streamrec-redrive", b"x")])
    (b'01a207b3/2/88', None)
    """
    for name, value in headers:
        if name == REDRIVE_HEADER and value is not None and _COORDINATES.fullmatch(value):
            return bytes(value)
    return None


def make_dead_letter(
    *,
    reason: str,
    topic: str,
    topic_id: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    first_seen_ms: int,
    redrive: bytes | None = None,
) -> DeadLetter:
    """Return the dead letter of a record.

    Its key ``<topic id>/<partition>/<offset>`` makes a repeat after a crash fold into one under compaction. A value
    over 900,000 bytes is cut to that length, and its full length and SHA-256 are kept in headers; a key over 16 KiB is
    cut likewise, so that every letter fits where its record did. An empty value is kept as empty bytes: a null would
    be a tombstone. Of a redriven record the coordinates it carries are kept, so that it
    stays one event however often it is redriven.
    """
    headers: Headers = [
        ("streamrec-reason", reason.encode()),
        ("streamrec-topic", topic.encode()),
        ("streamrec-topic-id", topic_id.encode()),
        ("streamrec-partition", str(partition).encode()),
        ("streamrec-offset", str(offset).encode()),
        ("streamrec-first-seen-ms", str(first_seen_ms).encode()),
        ("streamrec-code-version", CODE_VERSION.encode()),
        ("streamrec-key", (key or b"")[:MAX_KEY_BYTES]),
    ]
    if key is not None and len(key) > MAX_KEY_BYTES:
        headers.append(("streamrec-key-truncated-length", str(len(key)).encode()))
    if redrive is not None:
        headers.append((REDRIVE_HEADER, redrive))
    value = value or b""
    if len(value) > MAX_LETTER_BYTES:
        headers.append(("streamrec-truncated-length", str(len(value)).encode()))
        headers.append(("streamrec-sha256", hashlib.sha256(value).hexdigest().encode()))
        value = value[:MAX_LETTER_BYTES]
    return DeadLetter(f"{topic_id}/{partition}/{offset}".encode(), value, headers)
