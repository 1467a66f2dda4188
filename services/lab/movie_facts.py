"""What is known of items, out of an items file or of JSON as OMDb gives it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import DataError
from schemas.events import Item
from services.lab.cells import read_number
from services.lab.files import read_items

_UNKNOWN = {"", "N/A"}
_YEAR = re.compile(r"\b(?:1[89]|20)\d\d\b")


def read_facts(path: Path) -> Mapping[str, Item]:
    """Return what a file says of items, by id.

    Args:
        path: ``.json`` of the form ``{id: {"omdb": {"Title", "Genre", "Language", "Released", "imdbRating"}}}``, or an
            items file as ``streamrec catalog load`` takes it.

    Raises:
        DataError: the file cannot be read, or is of another form.
    """
    if path.suffix.lower() != ".json":
        return {item.item_id: item for item in read_items(path)}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise DataError(f'{path} must be an object of objects, as {{"1": {{"omdb": {{"Title": "Toy Story"}}}}}}')
    return {item_id: _read_omdb(item_id, each.get("omdb")) for item_id, each in found.items()}


def _read_omdb(item_id: str, facts: Any) -> Item:
    """Return the item of one entry; what is missing, N/A or of another kind is left out.

    >>> _read_omdb("1", {"Title": "Toy Story", "Genre": "Animation, Comedy", "Released": "22 Nov 1995"}).year
    1995
    """
    given = facts if isinstance(facts, dict) else {}
    said = {name: value.strip() for name, value in given.items() if isinstance(value, str) and value not in _UNKNOWN}
    year = _YEAR.search(said.get("Released", said.get("Year", "")))
    rating = read_number(said.get("imdbRating", given.get("imdbRating")))
    return Item(
        item_id=item_id,
        title=said.get("Title", ""),
        genres=tuple(part.strip() for part in said.get("Genre", "").split(",") if part.strip()),
        year=int(year.group()) if year else None,
        language=said.get("Language"),
        rating=float(rating) if isinstance(rating, int | float) and not isinstance(rating, bool) else None,
    )
