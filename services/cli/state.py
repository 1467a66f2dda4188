"""``streamrec state``."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from recommender.hashing import hash_id
from recommender.ledger import Ledger
from schemas.codec import normalise_id
from schemas.errors import StreamrecError
from services.admin.catalogue import read_catalogue
from services.admin.digest import state_digest
from services.admin.export import USERS_FILE, export_state
from services.admin.history import fold_user, logged_item_ids
from services.admin.ledgers import every_ledger
from services.admin.releases import read_releases
from services.admin.state import UserState, describe_ledger, judge_mean, read_ledger
from services.admin.until import Until, parse_until
from services.cli.flags import SettingsArgument
from services.cli.show import note, progress_bar, say, show_table, write_bytes
from streams.settings import Settings
from streams.store.clients import make_client

SHOWN_ENTRIES = 20
SHOWN_EVENTS = 10

JsonFlag = Annotated[bool, Parameter(name="--json", negative="")]


def _convert_until(_type: Any, tokens: Any) -> Until:
    return parse_until(tokens[0].value)


UntilArgument = Annotated[
    Until | None,
    Parameter(converter=_convert_until, accepts_keys=False, n_tokens=1, metavar="OFFSET|PARTITION:OFFSET|TIME"),
]


def show(user: str, *, at: UntilArgument = None, as_json: JsonFlag = False, settings: SettingsArgument) -> None:
    """Show what the state has of a user: position, mean, items and newest ratings.

    Args:
        user: whom.
        at: as it was then, folded from the log: up to and with an offset (of every partition, or of one alone), or
            before a time, 2026-01-31T12:00, in UTC without a zone.
        as_json: one line of JSON instead of tables, with everything in it.
        settings: from flags, environment and files.
    """
    user = normalise_id(user, "user_id")
    catalogue = read_catalogue(settings)
    titles = {item.item_id: item.title for item in catalogue.items}
    item_ids = {hash_id(item_id): item_id for item_id in catalogue.item_ids}
    with make_client(settings) as client:
        ledger, topic = read_ledger(client, settings, user)
    truncated: dict[int, int] = {}
    if at is not None:
        history = fold_user(settings, user, at)
        ledger = history.ledger if history.ledger.t else None
        item_ids, truncated = item_ids | history.item_ids, history.truncated
        for partition, lost in sorted(truncated.items()):
            note(f"the log of partition {partition} begins at offset {lost}: what was rated before is missing here")
    if ledger is None:
        raise StreamrecError(f"nothing is known of user {user!r}{'' if at is None else ' at that moment'}")
    mean_is = "not made from the log" if at is not None else _judge_mean(settings, ledger)
    state = describe_ledger(
        user,
        ledger,
        topic_id=topic.topic_id,
        mean_is=mean_is,
        item_ids=item_ids,
        titles=titles,
        truncated=truncated,
    )
    if as_json:
        write_bytes(msgspec.json.encode(state))
    else:
        _show(state)


def _judge_mean(settings: Settings, ledger: Ledger) -> str:
    return judge_mean(ledger, read_releases(settings).get(settings.embedding))


def _show(state: UserState) -> None:
    position = "none" if state.offset is None else f"partition {state.partition} offset {state.offset}"
    rows = [
        ("ratings (t)", str(state.t)),
        ("newest lies at", position if state.is_of_this_topic else f"{position} of a topic that was made again since"),
        ("mean is", state.mean_is),
        ("mean", " ".join(f"{number:.3f}" for number in state.mean) or "-"),
    ]
    show_table(f"user {state.user_id}", ("", ""), rows)
    show_table(
        f"{len(state.entries)} items rated{_shown(len(state.entries), SHOWN_ENTRIES)}",
        ("item", "title", "times", "last at t", "mean rating"),
        (
            (_name(e.item_id, e.item_hash), e.title, str(e.count), str(e.last_t), f"{e.rating_sum / e.count:.2f}")
            for e in state.entries[:SHOWN_ENTRIES]
        ),
    )
    show_table(
        f"newest ratings{_shown(len(state.newest), SHOWN_EVENTS)}",
        ("t", "item", "title", "rating"),
        ((str(e.t), _name(e.item_id, e.item_hash), e.title, f"{e.rating:g}") for e in state.newest[:SHOWN_EVENTS]),
    )


def _name(item_id: str | None, item_hash: str) -> str:
    return item_id if item_id is not None else f"#{item_hash}"


def _shown(count: int, most: int) -> str:
    return f", the newest {most} shown; --json has all" if count > most else ""


def digest(
    *,
    from_log: Annotated[bool, Parameter(negative="")] = False,
    as_json: JsonFlag = False,
    settings: SettingsArgument,
) -> None:
    """Print the digests of a state at rest: two states have the same when all counts, sums and times agree.

    Args:
        from_log: take the item ids from the log of ratings, when it has items that the catalogue never had.
        as_json: one line of JSON.
        settings: from flags, environment and files.
    """
    item_ids = logged_item_ids(settings) if from_log else read_catalogue(settings).item_ids
    with make_client(settings) as client:
        found = state_digest(client, settings, item_ids)
    if as_json:
        write_bytes(msgspec.json.encode(found._asdict()))
        return
    say(f"state       {found.state}")
    say(f"statistics  {found.statistics}")
    say(f"{found.users} users, {found.events} ratings")


def export(
    *,
    out: Path,
    from_log: Annotated[bool, Parameter(negative="")] = False,
    settings: SettingsArgument,
) -> None:
    """Write the state as parquet: a row a user and item, and users.parquet beside it, a row a user.

    Args:
        out: the file of entries, as entries.parquet.
        from_log: take item ids from the log too; an item without a known id is written as its hash.
        settings: from flags, environment and files.
    """
    known = {*read_catalogue(settings).item_ids, *(logged_item_ids(settings) if from_log else ())}
    names = {hash_id(item_id): item_id for item_id in known}
    with make_client(settings) as client, progress_bar() as progress:
        task = progress.add_task("users", total=None)
        done = export_state(
            every_ledger(client, settings), names, out, lambda users: progress.update(task, completed=users)
        )
    say(f"{done.entries} rows in {out}, {done.users} users in {out.with_name(USERS_FILE)}")
