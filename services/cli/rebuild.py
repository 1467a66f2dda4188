"""``streamrec state rebuild`` and ``streamrec state drop-generation``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import Parameter
from rich.progress import TaskID

from schemas.errors import ConfigurationError
from services.admin.compare import Comparison
from services.admin.generations import drop_generations, drop_past
from services.admin.past import build_past
from services.admin.rebuild import Rebuilt, rebuild_state
from services.admin.site import OnStage
from services.cli.flags import SettingsArgument
from services.cli.show import note, progress_bar, say, show_table
from services.cli.state import UntilArgument
from streams.store.clients import make_client


def rebuild(
    *,
    accept_difference: Annotated[bool, Parameter(negative="")] = False,
    until: UntilArgument = None,
    into: str | None = None,
    settings: SettingsArgument,
) -> int:
    """Make the state anew from the log, compare it with the live one and flip it in; 1 when they differ.

    The workers are stopped, the scorers go on. With --shards, or where the setting is set, it lies in as many then.

    Args:
        accept_difference: flip although it is not the same; what the log has lost is lost then.
        until: make the state of this moment instead, for looking at: up to and with an offset (of every partition, or
            of one alone), or before a time, 2026-01-31T12:00, in UTC without a zone.
        into: the namespace for the state of that moment.
        settings: from flags, environment and files.
    """
    if (until is None) != (into is None):
        raise ConfigurationError("--until and --into belong together: a past state has a namespace of its own")
    with _stages() as on_stage:
        if until is not None and into is not None:
            truncated = build_past(settings, into, until, on_stage)
        else:
            done = rebuild_state(settings, on_stage, accepts_difference=accept_difference)
            truncated = done.truncated
    for partition, lost in sorted(truncated.items()):
        note(f"the log of partition {partition} begins at offset {lost}: what was before is not in what was made")
    if into is not None:
        say(f"the state as of {until} is in namespace {into}: streamrec state show USER --namespace {into}")
        return 0
    return _tell(done)


def drop_generation(number: int | None = None, /, *, past: str | None = None, settings: SettingsArgument) -> None:
    """Remove generations that are not live, or a past state; a few keys at a time, beside running workers and scorers.

    Args:
        number: the only generation to remove; all that are not live by default.
        past: the namespace of a state made by `state rebuild --until`, to be removed instead.
        settings: from flags, environment and files.
    """
    if number is not None and past is not None:
        raise ConfigurationError(f"give a generation or --past, not both, got {number} and {past!r}")
    with make_client(settings) as client, progress_bar() as progress:
        task = progress.add_task("keys", total=None)

        def show(count: int) -> None:
            progress.update(task, completed=count)

        if past is not None:
            dropped = {f"past state {past}": drop_past(client, past, show)}
        else:
            found = drop_generations(client, settings, number, show)
            dropped = {f"generation {n}": count for n, count in sorted(found.items())}
    for name, count in dropped.items():
        say(f"{name}: {count} keys removed")
    if not dropped:
        say("nothing to remove: " + ("only the live generation is there" if number is None else "no such generation"))


@contextmanager
def _stages() -> Iterator[OnStage]:
    """Show one bar a stage of the work."""
    with progress_bar() as progress:

        def advance(task: TaskID) -> Callable[[int], None]:
            return lambda count: progress.update(task, advance=count)

        yield lambda name, total: advance(progress.add_task(name, total=total))


def _tell(done: Rebuilt) -> int:
    before, after = done.comparison.before, done.comparison.after
    show_table(
        "the state",
        ("", f"generation {done.live.number}", f"generation {done.built.number}"),
        [
            ("state", before.state, after.state),
            ("statistics", before.statistics, after.statistics),
            ("users", str(before.users), str(after.users)),
            ("ratings", str(before.events), str(after.events)),
            ("shards", str(done.live.shards), str(done.built.shards)),
        ],
    )
    if not done.comparison.is_equal:
        _tell_difference(done.comparison, after.events - before.events)
    if done.is_flipped:
        say(
            f"generation {done.built.number} is live; generation {done.live.number} is kept until `streamrec state "
            "drop-generation`"
        )
        return 0
    note(
        f"not flipped, generation {done.live.number} is live as before: find out why, or flip with "
        "--accept-difference. What was made stays until the next rebuild, or `streamrec state drop-generation`"
    )
    return 1


def _tell_difference(found: Comparison, events: int) -> None:
    note(f"they differ: {found.users} users are not the same, ratings {events:+d}")
    rows = ((user.user_id, str(user.t_before), str(user.t_after)) for user in found.named)
    show_table("users that differ" + (", some" if found.users > len(found.named) else ""), ("user", "t", "t now"), rows)
