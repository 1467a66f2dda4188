"""``streamrec schema``."""

from pathlib import Path

from schemas.export import export_schemas
from schemas.topics import TOPICS
from services.cli.flags import SettingsArgument
from services.cli.show import say


def export(directory: Path, *, settings: SettingsArgument) -> None:
    """Write JSON Schema of every event and an AsyncAPI document, with this deployment's scale and topic names.

    Args:
        directory: where to; it is made when missing.
        settings: from flags, environment and files.
    """
    names = {role: settings.topic(role) for role in TOPICS}
    for path in export_schemas(
        directory, settings.rating_min, settings.rating_max, topic_names=names, partitions=settings.partitions
    ):
        say(str(path))
