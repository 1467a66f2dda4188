"""``streamrec replay``."""

from typing import Annotated

from cyclopts import Group, Parameter, validators

from schemas.errors import StreamrecError
from services.admin.bus import open_admin
from services.admin.rate import refuse_own_events
from services.cli.flags import SettingsArgument
from services.cli.show import note, progress_bar, say
from services.cli.sources import BadLines, ColumnsArgument, load_ratings
from services.loadtest.replay import ReplayProgress, replay
from streams.bus.clients import make_producer
from streams.bus.topics import require_topic
from streams.settings import Settings

_PACE = Group("Pace", validator=validators.MutuallyExclusive())  # type: ignore[no-untyped-call]
_POSITIVE = validators.Number(gt=0)


def ratings(
    source: str,
    *,
    rate: Annotated[float | None, Parameter(group=_PACE, validator=_POSITIVE)] = None,
    speed: Annotated[float | None, Parameter(group=_PACE, validator=_POSITIVE)] = None,
    columns: ColumnsArgument = None,
    settings: SettingsArgument,
) -> int:
    """Publish the ratings of a file or data set, in its order; 1 when lines of a file had to be left out.

    Args:
        source: movielens-100k, synthetic, or a .jsonl, .csv, .tsv or .parquet file.
        rate: events a second; as fast as it goes by default.
        speed: multiple of the speed at which the log itself ran, by ts_ms.
        columns: what the file calls the contract's fields, as user_id=user,item_id=movie.
        settings: from flags, environment and files.
    """
    bad = BadLines()
    done = _publish(source, rate, speed, columns, settings, bad)
    if done.errors:
        raise StreamrecError(f"{done.errors} of {done.sent} ratings were not acknowledged; first: {done.first_error}")
    topic = settings.topic("ratings")
    say(f"{done.published} ratings published on {topic} in {done.seconds:.2f} s ({done.rate:.0f} a second)")
    if bad.count:
        note(f"{bad.count} lines were left out")
    return int(bad.count > 0)


def _publish(
    source: str,
    rate: float | None,
    speed: float | None,
    columns: dict[str, str] | None,
    settings: Settings,
    bad: BadLines,
) -> ReplayProgress:
    refuse_own_events(settings)
    topic = settings.topic("ratings")
    with open_admin(settings) as admin:
        require_topic(admin, topic)
    events, total = load_ratings(source, columns, settings, bad)
    producer = make_producer(settings)
    try:
        with progress_bar() as progress:
            task = progress.add_task(f"ratings of {source}", total=total)

            def show(so_far: ReplayProgress) -> None:
                progress.update(task, completed=so_far.published)

            return replay(events, producer, topic, rate=rate, speed=speed, on_progress=show)
    finally:
        producer.close(timeout=10)
