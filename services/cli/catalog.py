"""``streamrec catalog``."""

from services.admin.catalogue import publish_items
from services.cli.flags import SettingsArgument
from services.cli.show import note, progress_bar, say
from services.cli.sources import BadLines, ColumnsArgument, load_items


def load(source: str, *, columns: ColumnsArgument = None, settings: SettingsArgument) -> int:
    """Publish the items of a file or data set; 1 when lines of a file had to be left out.

    Args:
        source: movielens-100k, synthetic, or a .jsonl, .csv, .tsv or .parquet file.
        columns: what the file calls the contract's fields, as item_id=movie,title=name.
        settings: from flags, environment and files.
    """
    bad = BadLines()
    items = list(load_items(source, columns, bad))
    with progress_bar() as progress:
        task = progress.add_task(f"items of {source}", total=len(items))
        count = publish_items(settings, items, lambda done: progress.update(task, completed=done))
    say(f"{count} items published on {settings.topic('items')}")
    if bad.count:
        note(f"{bad.count} lines were left out")
    return int(bad.count > 0)
