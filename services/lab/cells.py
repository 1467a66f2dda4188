"""What files write in a cell, turned into what the contract takes.

Exports of data frames print lists (``['Crime', 'Drama']``, ``[1994]``), MovieLens joins genres by ``|``, and csv has
nothing but text. A value that cannot be read is handed on as it is, for the codec to refuse with its reason.
"""

import ast
import json
import math
from typing import Any

_MAX_LITERAL_CHARACTERS = 10_000
_NO_GENRES = "(no genres listed)"


def read_number(cell: Any) -> Any:
    """Return the number that a text says; anything else as it is.

    >>> read_number("4.5"), read_number("7"), read_number("four"), read_number(3)
    (4.5, 7.0, 'four', 3)
    """
    if not isinstance(cell, str) or "_" in cell:
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def read_integer(cell: Any) -> Any:
    """Return the integer that a text or a whole float says; anything else as it is.

    >>> read_integer("881250949000"), read_integer("5.0"), read_integer(5.0), read_integer("x"), read_integer(0.5)
    (881250949000, 5, 5, 'x', 0.5)
    """
    if isinstance(cell, str) and "_" not in cell:
        try:
            return int(cell)
        except ValueError:
            number = read_number(cell)
            return read_integer(number) if isinstance(number, float) else cell
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return cell


def is_nan(cell: Any) -> bool:
    """Tell whether a cell is the NaN that data frames write where they have nothing."""
    return isinstance(cell, float) and math.isnan(cell)


def read_genres(cell: Any) -> Any:
    """Return the genres that a cell lists; what is no list of any kind as it is.

    >>> read_genres("['Crime', 'Drama']"), read_genres("Action|Crime"), read_genres("War"), read_genres(["War"])
    (['Crime', 'Drama'], ['Action', 'Crime'], ['War'], ['War'])
    """
    if isinstance(cell, str):
        text = cell.strip()
        if text == _NO_GENRES:
            return []
        if not text.startswith("["):
            return [part.strip() for part in text.split("|") if part.strip()]
        cell = read_literal(text)
    return list(cell) if isinstance(cell, tuple | set) else cell


def read_year(cell: Any) -> Any:
    """Return the year that a cell says, alone or as the only one of a list; anything else as it is.

    >>> read_year("[1994]"), read_year("1994"), read_year(1994.0), read_year([1994]), read_year("[]")
    (1994, 1994, 1994, 1994, None)
    """
    if isinstance(cell, str) and cell.strip().startswith("["):
        cell = read_literal(cell.strip())
    if isinstance(cell, list | tuple) and len(cell) <= 1:
        cell = cell[0] if cell else None
    return read_integer(cell)


def read_attributes(cell: Any) -> Any:
    """Return the attributes that a text of JSON or a printed dict says; of parquet's pairs, the dict they make.

    >>> read_attributes('{"studio": "A24"}'), read_attributes("{'long': True}"), read_attributes([("long", True)])
    ({'studio': 'A24'}, {'long': True}, {'long': True})
    """
    if isinstance(cell, str):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return read_literal(cell)
    if isinstance(cell, list) and all(isinstance(pair, tuple) for pair in cell):
        return dict(cell)
    return cell


def read_literal(text: str) -> Any:
    """Return the Python literal that a text prints; the text when it is none. Nothing is evaluated."""
    if len(text) > _MAX_LITERAL_CHARACTERS:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text
