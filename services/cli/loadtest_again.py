"""``streamrec loadtest --record`` and ``--again``: a run kept, and played once more."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError
from services.admin.bus import log_ends, open_admin
from services.admin.rate import refuse_own_events
from services.cli.loadtest_stage import Stage, make_folder
from services.cli.loadtest_system import embedded_system
from services.cli.show import note, progress_bar, say
from services.loadtest.again import play_again, read_about
from services.loadtest.outcome import Outcome
from services.loadtest.record import FileRecorder
from services.loadtest.records import hand_over
from services.loadtest.world import keep_world, publish_world
from streams.bus.topics import require_topic
from streams.settings import Settings

AGAIN_FILE = "again.json"


def refuse_begun(settings: Settings) -> None:
    """Refuse to record where others have rated already: answers would depend on what the record does not hold.

    Raises:
        ConfigurationError: the log of ratings is not empty.
    """
    with open_admin(settings) as admin:
        topic = require_topic(admin, settings.topic("ratings"))
    if held := sum(log_ends(settings, topic).values()):
        raise ConfigurationError(
            f"topic {topic.name!r} holds {held:,} records: a run that is kept must begin with an empty log and state, "
            "as --embedded makes them"
        )


def keep_record(directory: Path, outcome: Outcome, stage: Stage) -> None:
    """Keep a run that has ended, while its system is still there."""
    about = {**stage.about(), "started": datetime.fromtimestamp(outcome.started, UTC).isoformat()}
    with FileRecorder(directory, about) as recorder:
        hand_over(outcome, recorder)
        keep_world(recorder, stage.system.settings)
    say(f"record in {directory}: play it again by `streamrec loadtest --again {directory} --embedded`")


def play_record(
    directory: Path, settings: Settings, *, serial: bool, embedded: bool, has_state: bool, out: Path
) -> int:
    """Play a record again, write ``again.json`` and return 0 when every answer that was compared is the same."""
    refuse_own_events(settings)
    about = read_about(directory)
    make_folder(out)
    with ExitStack() as stack:
        if embedded:
            settings = stack.enter_context(embedded_system(settings, partial(publish_world, directory), out)).settings
        _note_changes(about, settings)
        progress = stack.enter_context(progress_bar())
        task = progress.add_task(f"answers of {directory}", total=None)
        found = play_again(
            directory,
            settings,
            serial=serial,
            has_state=has_state,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    (out / AGAIN_FILE).write_text(json.dumps({**found.as_json(), "about": about}, indent=1) + "\n")
    say(found.summary())
    say(f"{AGAIN_FILE} in {out}")
    return int(not found.is_same)


def _note_changes(about: dict[str, Any], settings: Settings) -> None:
    """Say which settings are not those of the record: where answers differ, they may be why."""
    current = settings.model_dump()
    for name, was in about.get("settings", {}).items():
        if name in current and current[name] != was:
            note(f"recorded with {name} {was}, played again with {current[name]}")
