"""``streamrec dlq``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter, validators

from schemas.errors import StreamrecError
from schemas.events import DEAD_LETTER_REASONS
from services.admin.dlq import RedrivePlan, Refused, plan_redrive
from services.admin.dlq import redrive as send_again
from services.admin.letters import Letter, LetterBox, LetterFilter, read_letters
from services.cli.flags import SettingsArgument
from services.cli.processes import parse_time
from services.cli.show import note, progress_bar, say, show_table, write_bytes
from streams.settings import Settings

SHOWN_REFUSED = 5


def _convert_time(_type: Any, tokens: Any) -> int:
    return parse_time(tokens[0].value)


def _check_reason(_type: Any, reasons: Any) -> None:
    for reason in reasons or ():
        if reason not in DEAD_LETTER_REASONS:
            raise ValueError(f"reason must be one of {', '.join(DEAD_LETTER_REASONS)}, got {reason!r}")


TimeArgument = Annotated[int | None, Parameter(converter=_convert_time, metavar="TIME")]
CountArgument = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]
JsonArgument = Annotated[bool, Parameter(name="--json", negative="")]
SwitchArgument = Annotated[bool, Parameter(negative="")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """Which letters are meant, as flags.

    Attributes:
        reason: only of this reason; may be given several times.
        since: only those refused at this time or later, ISO 8601 or ms since 1970.
        until: only those refused before this time.
        topic: only of this topic, by name, or ratings or requests.
        partition: only of this partition of the topic.
    """

    reason: Annotated[tuple[str, ...], Parameter(validator=_check_reason, negative="", show_default=False)] = ()
    since: TimeArgument = None
    until: TimeArgument = None
    topic: str | None = None
    partition: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None

    def read(self, settings: Settings) -> LetterBox:
        """Return the letters that are meant."""
        return read_letters(settings, LetterFilter(self.reason, self.since, self.until, self.topic, self.partition))


MeantArgument = Annotated[Meant, Parameter(name="*")]
ALL = Meant()


def list_letters(
    *,
    meant: MeantArgument = ALL,
    newest: CountArgument = 20,
    as_json: JsonArgument = False,
    settings: SettingsArgument,
) -> None:
    """Show the dead letters of ratings and requests: how many of each reason, and the newest.

    Args:
        meant: only these letters; all by default.
        newest: how many are shown in the table.
        as_json: all of them, as one JSON object.
        settings: from flags, environment and files.
    """
    box = meant.read(settings)
    if as_json:
        letters = [_described(letter) for letter in box.letters]
        _write_json({"reasons": box.reasons, "foreign": box.foreign, "letters": letters})
        return
    if box.letters:
        shown = box.letters[-(newest or 1) :][::-1]
        show_table("reasons", ("reason", "letters"), ((reason, str(count)) for reason, count in box.reasons.items()))
        columns = ("key", "topic", "reason", "first seen", "bytes", "begins with")
        show_table(f"newest {len(shown)} of {len(box.letters)}", columns, map(_row, shown))
    else:
        say("no dead letters")
    _note_foreign(box.foreign)


def show(key: str, *, as_json: JsonArgument = False, settings: SettingsArgument) -> None:
    """Show one dead letter: all that is said of it, and its bytes as text, or in hex where they are none.

    Args:
        key: topic id, partition and offset of the record with slashes between, as the list has it.
        as_json: one JSON object.
        settings: from flags, environment and files.
    """
    found = [letter for letter in read_letters(settings).letters if letter.key == key]
    if not found:
        raise StreamrecError(f"no dead letter has the key {key!r}: `streamrec dlq list` shows those there are")
    for letter in found:
        headers = {name: _text_or_hex(value)[1] for name, value in letter.headers.items()}
        form, value = _text_or_hex(letter.value)
        if as_json:
            _write_json({"key": key, "headers": headers, form: value})
        else:
            show_table(key, ("header", "value"), [(name, _printable(text)) for name, text in headers.items()])
            say(f"{len(letter.value)} bytes as {form}:")
            say(_printable(value))


def redrive(
    *,
    meant: MeantArgument = ALL,
    limit: CountArgument = None,
    dry_run: SwitchArgument = False,
    delete: SwitchArgument = False,
    settings: SettingsArgument,
) -> int:
    """Send dead letters that are valid now to their topic again; 1 when some of those meant cannot be sent.

    A rating is applied once, however often it is redriven, also when a redrive is interrupted and repeated. A request
    is answered again each time.

    Args:
        meant: only these letters; all by default.
        limit: send at most so many, the oldest first.
        dry_run: send nothing, say what would be sent.
        delete: delete each letter once its record is acknowledged; kept by default.
        settings: from flags, environment and files.
    """
    box = meant.read(settings)
    plan = plan_redrive(settings, box.letters, limit)
    _note_foreign(box.foreign)
    _note_refused(f"{len(plan.refused)} cannot be redriven", plan.refused)
    _note_refused(f"{len(plan.failing)} still break the contract", plan.failing)
    if plan.left:
        note(f"{plan.left} more are valid and beyond the limit")
    if dry_run:
        say(f"{len(plan.ready)} of {len(box.letters)} letters would be sent")
    else:
        sent = _send(plan, settings, delete)
        say(f"{sent} of {len(box.letters)} letters sent{' and deleted' if delete else ''}")
    return int(bool(plan.refused or plan.failing))


def _write_json(found: dict[str, Any]) -> None:
    write_bytes(json.dumps(found).encode())


def _send(plan: RedrivePlan, settings: Settings, delete: bool) -> int:
    with progress_bar() as progress:
        task = progress.add_task("redrive", total=len(plan.ready))
        return send_again(
            settings, plan.ready, deletes=delete, on_progress=lambda sent: progress.update(task, completed=sent)
        )


def _note_refused(what: str, refused: Sequence[Refused]) -> None:
    if refused:
        note(f"{what}:")
        for each in refused[:SHOWN_REFUSED]:
            note(f"  {each.letter.key}: {_printable(each.why)}")
        if len(refused) > SHOWN_REFUSED:
            note(f"  and {len(refused) - SHOWN_REFUSED} more")


def _note_foreign(foreign: int) -> None:
    if foreign:
        note(f"{foreign} records of the dead-letter topics are no letters of streamrec's and are left out")


def _row(letter: Letter) -> tuple[str, ...]:
    seen = datetime.fromtimestamp(letter.first_seen_ms / 1000, UTC).isoformat(timespec="seconds")
    begins = _printable(letter.value[:40].decode(errors="backslashreplace"))
    return (letter.key, letter.topic, letter.reason, seen, str(len(letter.value)), begins)


def _described(letter: Letter) -> dict[str, Any]:
    return {
        "key": letter.key,
        "topic": letter.topic,
        "reason": letter.reason,
        "partition": letter.partition,
        "offset": letter.offset,
        "first_seen_ms": letter.first_seen_ms,
        "code_version": letter.code_version,
        "bytes": len(letter.value),
        "is_truncated": letter.is_truncated,
        "origin": letter.origin.decode(errors="replace"),
    }


def _text_or_hex(value: bytes) -> tuple[str, str]:
    try:
        return "text", value.decode()
    except UnicodeDecodeError:
        return "hex", value.hex(" ")


def _printable(text: str) -> str:
    r"""Return text that a terminal shows as it is.

    >>> _printable("a\n\x1b[2J")
    'a\n\\x1b[2J'
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )
