"""``streamrec validate``."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from schemas.errors import ConfigurationError
from services.admin.sample import sample_topic
from services.cli.flags import SettingsArgument
from services.cli.show import say, show_table
from services.cli.sources import ColumnsArgument
from services.lab.files import read_own_ratings, read_ratings
from services.lab.rows import BadLine
from streams.ratings import make_rating_decoder
from streams.settings import Settings

SHOWN_RECORDS = 5


def validate(
    file: Path | None = None,
    *,
    topic: str | None = None,
    sample: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=10_000_000))] = 1000,
    columns: ColumnsArgument = None,
    settings: SettingsArgument,
) -> int:
    """Check ratings as the worker would, publish nothing, and name what is bad with its reason; 1 when any is.

    Where rating_fields says what your own events call the contract's fields, a .jsonl file and a topic are read so.

    Args:
        file: a .jsonl, .csv, .tsv or .parquet file.
        topic: an existing topic, read without a consumer group, instead of a file.
        sample: how many of the topic's newest records.
        columns: what the file calls the contract's fields, as user_id=user,item_id=movie.
        settings: from flags, environment and files.
    """
    if (file is None) == (topic is None):
        raise ConfigurationError("validate takes a FILE or --topic NAME, one of them")
    if topic is not None:
        if columns:
            raise ConfigurationError("--columns is for files; of a topic, rating_fields says where a field lies")
        return _validate_topic(settings, topic, sample)
    assert file is not None, "one of them"
    return _validate_file(settings, file, columns)


def _validate_file(settings: Settings, file: Path, columns: dict[str, str] | None) -> int:
    reasons: Counter[str] = Counter()

    def on_bad(line: BadLine) -> None:
        reasons[line.reason] += 1
        say(f"line {line.line}: {line.reason}: {line.message}")

    try:
        if settings.rating_fields and not columns and file.suffix.lower() == ".jsonl":
            ratings = read_own_ratings(file, make_rating_decoder(settings), on_bad=on_bad)
        else:
            scale = {"rating_min": settings.rating_min, "rating_max": settings.rating_max}
            ratings = read_ratings(file, columns, **scale, on_bad=on_bad)
        good = _count(ratings)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return _summarise(f"{file}", "lines", good, reasons)


def _validate_topic(settings: Settings, topic: str, sample: int) -> int:
    reasons: Counter[str] = Counter()
    good = 0
    for record in sample_topic(settings, topic, sample):
        if record.error is None:
            good += 1
            continue
        reasons[record.error.reason] += 1
        if reasons[record.error.reason] <= SHOWN_RECORDS:
            say(f"partition {record.partition} offset {record.offset}: {record.error}")
    return _summarise(f"the newest records of {topic}", "records", good, reasons)


def _count(found: Iterable[object]) -> int:
    return sum(1 for _ in found)


def _summarise(where: str, what: str, good: int, reasons: Counter[str]) -> int:
    if reasons:
        show_table("why not", ("reason", what), ((reason, str(count)) for reason, count in reasons.most_common()))
    total = good + reasons.total()
    say(f"{where}: {good} of {total} {what} are ratings" + (f", {reasons.total()} are not" if reasons else ""))
    return int(bool(reasons))
