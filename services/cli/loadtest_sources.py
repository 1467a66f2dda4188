"""What ``streamrec loadtest --replay`` plays."""

from collections.abc import Sequence

from schemas.codec import RatingDecoder
from schemas.errors import ConfigurationError
from schemas.events import Item
from services.cli.show import note
from services.cli.sources import BadLines, load_items, load_ratings
from services.lab.datasets import DATASETS, load_dataset
from services.loadtest.load import Load, load_of
from services.loadtest.synthetic import PREFIX, generate_load, parse_sizes
from streams.settings import Settings


def load_source(
    source: str, items: str | None, columns: dict[str, str] | None, settings: Settings, limit: int | None = None
) -> Load:
    """Return the load that ``--replay`` names, at most ``limit`` events of it.

    Args:
        source: a data set, a file of ratings, or ``synthetic:USERS,ITEMS,EVENTS``.
        items: a file or data set of items; None for those of the source, of which a file of ratings knows the ids.
        columns: what a file of ratings calls a column.
        settings: the rating scale and the seed.
        limit: of events; None for all.

    Raises:
        ConfigurationError: the source, or a column, is written wrongly.
        DataError: it cannot be read.
    """
    if source.startswith(PREFIX):
        try:
            sizes = parse_sizes(source)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        return generate_load(*sizes, settings.seed, settings.rating_min, settings.rating_max)
    bad = BadLines()
    given = list(load_items(items, None, bad)) if items is not None else None
    events, _ = load_ratings(source, columns, settings, bad)
    load = load_of(source, events, given or (), limit)
    if bad.count:
        note(f"{bad.count} lines were left out")
    if given is None:
        load = load_with_items(load, source, settings)
    return load


def load_with_items(load: Load, source: str, settings: Settings) -> Load:
    """Return the load with the catalogue of its data set, or with items of which only the id is known."""
    items: Sequence[Item]
    if source in DATASETS:
        items = load_dataset(source).items
    else:
        ids = dict.fromkeys(
            item_id for _, item_id, _ in load.triples(RatingDecoder(settings.rating_min, settings.rating_max))
        )
        items = [Item(item_id=item_id) for item_id in ids]
    return Load(load.name, load.keys, load.values, items, load.ts_ms)
