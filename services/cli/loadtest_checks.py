"""Whether a load test left behind what it played: the state by digest, the dead letters by their places."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.codec import RatingDecoder
from schemas.errors import StreamrecError
from services.admin.digest import state_digest
from services.admin.letters import read_letters
from services.lab.digest import expected_digest
from services.loadtest.load import Triple
from services.loadtest.outcome import Outcome
from services.loadtest.report import Correctness
from streams.settings import Settings
from streams.store.clients import make_client


@dataclass(slots=True)
class Played:
    """Everything that runs of one command played onto a state that was empty before.

    Attributes:
        began_empty: whether it was; where not, the state cannot be compared.
        triples: the good ratings, in the order of the log.
    """

    began_empty: bool = True
    triples: list[Triple] = field(default_factory=list)


def check_run(settings: Settings, outcome: Outcome, played: Played) -> Correctness:
    """Add a run to what was played, and compare everything with what is there now.

    Raises:
        StreamrecError: letters or state cannot be read.
    """
    decoder = RatingDecoder(settings.rating_min, settings.rating_max)
    lost = [number for number, offset in enumerate(outcome.offsets.tolist()) if offset < 0]
    if not played.triples and any(outcome.begin.values()):
        played.began_empty = False
    played.triples += outcome.plan.load.triples(decoder, lost)
    letters = _letters(settings, outcome)
    if not played.began_empty:
        why = "not compared: the log had records before the run"
        return Correctness(why=why, **letters)
    return Correctness(**_compare(settings, played.triples, len(lost)), **letters)


def _compare(settings: Settings, triples: Iterable[Triple], lost: int) -> dict[str, Any]:
    triples = list(triples)
    expected = expected_digest(triples)
    client = make_client(settings)
    try:
        found = state_digest(client, settings, {item_id for _, item_id, _ in triples})
    except StreamrecError as error:
        return {"is_right": False, "why": f"the state cannot be compared: {error}", "expected": asdict(expected)}
    finally:
        client.close()
    is_right = (found.state, found.statistics) == (expected.state, expected.statistics)
    why = "the state equals the events, rating for rating"
    if not is_right:
        why = (
            f"the state does NOT equal the events: it has {found.events:,} ratings of {found.users:,} users, the "
            f"events {expected.events:,} of {expected.users:,}"
        )
        why += f"; {lost:,} were not acknowledged and may have been written" if lost else ""
    return {"is_right": is_right, "why": why, "found": found._asdict(), "expected": asdict(expected)}


def _letters(settings: Settings, outcome: Outcome) -> dict[str, Any]:
    """Compare the dead letters of the run's part of the log with its bad events, place by place."""
    bad = outcome.plan.load.bad
    places = zip(outcome.partitions.tolist(), outcome.offsets.tolist(), strict=True)
    expected = {place: bad[number] for number, place in enumerate(places) if number in bad and place[1] >= 0}
    found = {
        (letter.partition, letter.offset): letter.reason
        for letter in read_letters(settings).letters
        if letter.role == "ratings" and letter.offset >= outcome.begin.get(letter.partition, 0)
    }
    return {
        "letters": dict(Counter(found.values()).most_common()),
        "missing_letters": _named(expected.items() - found.items()),
        "unexpected_letters": _named(found.items() - expected.items()),
    }


def _named(places: Iterable[tuple[tuple[int, int], str]]) -> list[str]:
    return [f"{partition}/{offset} {reason}" for (partition, offset), reason in sorted(places)]
