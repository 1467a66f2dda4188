"""Dead letters as the dead-letter topics hold them: read whole, without a group, and chosen from."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.admin.log import open_log
from streams.bus.dead_letters import REDRIVE_HEADER
from streams.settings import Settings

LetterRole = Literal["ratings", "requests"]
ROLES: tuple[LetterRole, ...] = ("ratings", "requests")


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter.

    Attributes:
        role: whose dead letters it lies among.
        key: ``<topic id>/<partition>/<offset>`` of the bad record.
        headers: everything that is said of it, verbatim.
        value: the record's bytes, or the first 900,000 of them.
        lies_in: partition of the dead-letter topic.
        reason: why it was refused.
        topic: name of the topic it was read from.
        partition: its partition there.
        offset: its offset there.
        first_seen_ms: when it was refused, in ms since 1970.
    """

    role: LetterRole
    key: str
    headers: Mapping[str, bytes]
    value: bytes
    lies_in: int
    reason: str
    topic: str
    partition: int
    offset: int
    first_seen_ms: int

    @property
    def record_key(self) -> bytes | None:
        """The record's own key; one without bytes counts as none."""
        return self.headers["streamrec-key"] or None

    @property
    def code_version(self) -> str:
        """The release that refused it."""
        return self.headers["streamrec-code-version"].decode(errors="replace")

    @property
    def is_truncated(self) -> bool:
        """Whether only the first bytes of the record are here."""
        return "streamrec-truncated-length" in self.headers

    @property
    def origin(self) -> bytes:
        """The coordinates that a redrive carries: those of the first letter, when this one was redriven before."""
        return self.headers.get(REDRIVE_HEADER) or self.key.encode()


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; what is None or empty asks nothing.

    Attributes:
        reasons: any of these.
        since_ms: refused at this time or later.
        until_ms: refused before this time.
        topic: of this topic, by its name, or ``ratings`` or ``requests``.
        partition: of this partition of it.
    """

    reasons: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    topic: str | None = None
    partition: int | None = None

    def matches(self, letter: Letter) -> bool:
        """Return whether a letter is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.since_ms is None or letter.first_seen_ms >= self.since_ms)
            and (self.until_ms is None or letter.first_seen_ms < self.until_ms)
            and (self.topic is None or self.topic in {letter.topic, letter.role})
            and (self.partition is None or letter.partition == self.partition)
        )


@dataclass(frozen=True, slots=True)
class LetterBox:
    """What was found.

    Attributes:
        letters: those that are meant, the oldest first.
        foreign: records of the dead-letter topics that are no letters of streamrec's.
    """

    letters: list[Letter]
    foreign: int

    @property
    def reasons(self) -> dict[str, int]:
        """How many letters there are of each reason, the commonest first."""
        return dict(Counter(letter.reason for letter in self.letters).most_common())


def read_letters(settings: Settings, chosen: LetterFilter | None = None) -> LetterBox:
    """Return the letters that are there now: the newest of each key, those deleted left out.

    Raises:
        ConfigurationError: no broker answers, or a dead-letter topic does not exist.
        StreamrecError: a dead-letter topic was not read to its end.
    """
    chosen = chosen or LetterFilter()
    found: dict[tuple[LetterRole, bytes], Letter] = {}
    foreign = 0
    for role in [chosen.topic] if chosen.topic in ROLES else ROLES:
        with open_log(settings, settings.topic("ratings.dlq" if role == "ratings" else "requests.dlq")) as log:
            for record in log.read():
                place = (role, record.key or b"")
                found.pop(place, None)
                if record.value is None:
                    continue
                letter = parse_letter(role, record)
                if letter is None:
                    foreign += 1
                elif chosen.matches(letter):
                    found[place] = letter
    return LetterBox(sorted(found.values(), key=_age), foreign)


def parse_letter(role: LetterRole, record: Any) -> Letter | None:
    """Return the letter of a record; None for one that another program wrote."""
    headers = _first_of_each(record.headers)
    try:
        topic_id = headers["streamrec-topic-id"].decode()
        partition, offset = int(headers["streamrec-partition"]), int(headers["streamrec-offset"])
        key = f"{topic_id}/{partition}/{offset}"
        if record.key != key.encode() or not {"streamrec-key", "streamrec-code-version"} <= headers.keys():
            return None
        return Letter(
            role=role,
            key=key,
            headers=headers,
            value=record.value,
            lies_in=record.partition,
            reason=headers["streamrec-reason"].decode(),
            topic=headers["streamrec-topic"].decode(),
            partition=partition,
            offset=offset,
            first_seen_ms=int(headers["streamrec-first-seen-ms"]),
        )
    except (KeyError, ValueError):
        return None


def _age(letter: Letter) -> tuple[int, str, int, int]:
    return letter.first_seen_ms, letter.topic, letter.partition, letter.offset


def _first_of_each(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value or b"")
    return found
