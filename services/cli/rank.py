"""``streamrec rank``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from schemas.errors import DataError
from services.cli.flags import SettingsArgument
from services.cli.show import say, show_beside, write_bytes
from services.lab.actor_weights import read_actor
from services.lab.distance_tables import Ranked, Vectors, act
from services.lab.distance_tables import rank as rank_items
from services.lab.movie_facts import read_facts
from services.lab.vectors import read_named_vectors

Metric = Literal[
    "euclidean",
    "cosine",
    "correlation",
    "canberra",
    "minkowski",
    "chebyshev",
    "braycurtis",
    "cityblock",
    "inner",
]
_COLUMNS = ("", "item", "distance", "title", "genres", "language", "year", "rating")


def rank(
    *,
    weights: Path,
    embeddings: Path,
    frame: str,
    metadata: Path | None = None,
    metric: Annotated[Sequence[Metric], Parameter(negative="")] = ("euclidean",),
    k: Annotated[int, Parameter(name=["--k", "-k"])] = 10,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    settings: SettingsArgument,
) -> None:
    """Rank items by their distance from what a trained actor says of a frame of ratings; no bus is needed.

    Args:
        weights: the actor: a state dict of torch or safetensors with layers named linear1, linear2 and so on, or the
            model.safetensors of a release of such a policy (ddpg, td3, reinforce, bcq, qlearning, sarsa).
        embeddings: the items' vectors: parquet (item_id, x0, x1, ...), npz (item_ids, vectors), or a dictionary of
            tensors by item id as safetensors or of torch, or a release's model.safetensors.
        frame: ITEM:RATING,... oldest first, as many as the actor's state holds; of more the newest count.
        metadata: what to show of items: an items file, or JSON as OMDb gives it by item id.
        metric: by which distance; repeat it for tables side by side.
        k: how many items of each.
        as_json: for programs to read, instead of tables.
        settings: from flags, environment and files.
    """
    if k < 1:
        raise DataError(f"k must be at least 1, got {k}")
    ratings = parse_frame(frame)
    known = Vectors(*read_named_vectors(embeddings))
    actor, frame_size = read_actor(weights, known.vectors.shape[1])
    items = {} if metadata is None else read_facts(metadata)
    action = act(actor, frame_size, ratings, known, (settings.rating_min, settings.rating_max))
    seen = [item_id for item_id, _ in ratings]
    tables = {name: rank_items(action, name, k, known, seen, items) for name in dict.fromkeys(metric)}
    if as_json:
        write_bytes(_encode(ratings[-frame_size:], tables))
        return
    say(f"{len(known.item_ids)} items, a frame of {frame_size} ratings, an action of {len(action)} numbers")
    show_beside([(f"by {name}", _COLUMNS, [_write(line) for line in lines]) for name, lines in tables.items()])


def parse_frame(text: str) -> list[tuple[str, float]]:
    """Return the items and ratings of ITEM:RATING,..., in this order.

    Raises:
        DataError: a part is not ITEM:RATING.

    >>> parse_frame("1:4.5, tt:2:5")
    [('1', 4.5), ('tt:2', 5.0)]
    """
    frame = []
    for part in text.split(","):
        item_id, _, rating = part.strip().rpartition(":")
        try:
            frame.append((item_id, float(rating)))
        except ValueError:
            item_id = ""
        if not item_id:
            raise DataError(f"frame must be ITEM:RATING,ITEM:RATING,... as 1:4.5,2:3, got {part.strip()!r}")
    return frame


def _encode(frame: Sequence[tuple[str, float]], tables: Mapping[Metric, list[Ranked]]) -> bytes:
    found = {name: [line.as_json() for line in lines] for name, lines in tables.items()}
    state = [{"item_id": item_id, "rating": rating} for item_id, rating in frame]
    return msgspec.json.encode({"frame": state, "metrics": found})


def _write(line: Ranked) -> tuple[str, ...]:
    item = line.item
    return (
        str(line.rank),
        item.item_id,
        f"{line.distance:.4g}",
        item.title,
        ", ".join(item.genres),
        item.language or "",
        "" if item.year is None else str(item.year),
        "" if item.rating is None else f"{item.rating:g}",
    )
