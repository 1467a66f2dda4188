"""Models as named arrays and metadata: what a release holds, written and read with every check in one place."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ModelError

Tensors = Mapping[str, NDArray[Any]]
Metadata = Mapping[str, str]


def write_about(key: str, about: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata of one key, so that the bytes of a release are fixed."""
    return {key: json.dumps(about, sort_keys=True)}


def read_about(metadata: Metadata, key: str, what: str, version: int, fields: Mapping[str, type]) -> dict[str, Any]:
    """Return what :func:`write_about` wrote, checked.

    Args:
        metadata: of the file.
        key: under which it stands.
        what: the kind of model, for messages.
        version: what ``format`` must be.
        fields: name and type of what must be there.

    Raises:
        ModelError: it is not there, of another format, or a field is missing or of another type.
    """
    try:
        about = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"no {what} model: its metadata has no readable {key}") from error
    if not isinstance(about, dict) or about.get("format") != version:
        got = about.get("format") if isinstance(about, dict) else about
        raise ModelError(f"the {what} format must be {version}, got {got!r}")
    for name, kind in fields.items():
        if not isinstance(about.get(name), kind):
            raise ModelError(f"the {what}'s {name} must be of type {kind.__name__}, got {about.get(name)!r}")
    return about


def read_numbers(tensors: Tensors, name: str, ndim: int) -> NDArray[np.float32]:
    """Return a tensor of float32.

    Raises:
        ModelError: it is not there, or has another type or number of dimensions.
    """
    array = tensors.get(name)
    if array is None:
        raise ModelError(f"the release has no tensor {name!r}; it has {sorted(tensors)}")
    if array.dtype != np.float32 or array.ndim != ndim:
        raise ModelError(f"{name} must be float32 of {ndim} dimensions, got {array.dtype} of {array.ndim}")
    return array


def write_strings(strings: Sequence[str]) -> NDArray[np.uint8]:
    """Return a list of strings as the UTF-8 bytes of its JSON."""
    text = json.dumps(list(strings), ensure_ascii=False, separators=(",", ":"))
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()


def read_strings(tensors: Tensors, name: str) -> tuple[str, ...]:
    """Return what :func:`write_strings` wrote.

    Raises:
        ModelError: it is not there, or no list of strings.
    """
    array = tensors.get(name)
    if array is None or array.dtype != np.uint8:
        raise ModelError(f"the release has no tensor {name!r} of bytes")
    try:
        strings = json.loads(array.tobytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the release's {name} are no JSON: {error}") from error
    if not isinstance(strings, list) or not all(isinstance(each, str) for each in strings):
        raise ModelError(f"the release's {name} must be a list of strings")
    return tuple(strings)


def check_finite(numbers: NDArray[Any], name: str) -> None:
    """Refuse numbers of which one is not finite.

    Raises:
        ModelError: naming how many, and the first.
    """
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        place = tuple(bad[0].tolist())
        raise ModelError(f"{name} must be finite, got {len(bad)} that are not, the first {numbers[place]} at {place}")


def rows_by_id(item_ids: Sequence[str]) -> dict[str, int]:
    """Return the row of each id.

    Raises:
        ModelError: an id stands twice.
    """
    rows = {item_id: row for row, item_id in enumerate(item_ids)}
    if len(rows) != len(item_ids):
        raise ModelError(f"item ids must be distinct, got {len(item_ids)} of which {len(rows)} differ")
    return rows
