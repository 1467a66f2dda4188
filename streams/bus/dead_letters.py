"""Dead letters: the verbatim bytes of a bad record, with where it came from and why it was refused."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

MAX_LETTER_BYTES = 900_000
MAX_KEY_BYTES = 16 * 1024

try:
    CODE_VERSION = version("streamrec")
except PackageNotFoundError:  # run from a source tree that was not installed
    CODE_VERSION = "0"

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of a dead-letter topic, as a producer takes it."""

    key: bytes
    value: bytes | None
    headers: Headers


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
) -> DeadLetter:
    """Return the dead letter of a record.

    Its key ``<topic id>/<partition>/<offset>`` makes a repeat after a crash fold into one under compaction. A value
    over 900,000 bytes is cut to that length, and its full length and SHA-256 are kept in headers; a key over 16 KiB is
    cut likewise, so that every letter fits where its record did. An empty value is kept as empty bytes: a null would
    be a tombstone.
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
    value = value or b""
    if len(value) > MAX_LETTER_BYTES:
        headers.append(("streamrec-truncated-length", str(len(value)).encode()))
        headers.append(("streamrec-sha256", hashlib.sha256(value).hexdigest().encode()))
        value = value[:MAX_LETTER_BYTES]
    return DeadLetter(f"{topic_id}/{partition}/{offset}".encode(), value, headers)
