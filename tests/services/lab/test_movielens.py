import hashlib

import numpy as np
import pandas as pd
import pytest

from schemas.errors import DataError
from schemas.events import Item
from services.lab import movielens

NO_GENRES = "|".join("0" * 18)
U_ITEM = (
    "1|Toy Story (1995)|01-Jan-1995||http://example.org/1|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    f"267|unknown||||1|{NO_GENRES}\n"
    f"9|Misérables, Les (1862) (1995)|||http://example.org/9|0|{NO_GENRES}\n"
).encode("latin-1")
U_DATA = b"196\t242\t3\t881250949\n22\t377\t1\t878887116\n7\t242\t5\t881250949\n"


def test_genres_have_their_names_and_unknown_is_none():
    toy_story, unknown, _ = movielens.parse_items(U_ITEM)
    assert toy_story == Item(
        item_id="1", title="Toy Story (1995)", genres=("Animation", "Children's", "Comedy"), year=1995
    )
    assert unknown == Item(item_id="267", title="unknown")


def test_year_falls_back_to_the_last_year_of_the_title():
    assert movielens.parse_items(U_ITEM)[2] == Item(item_id="9", title="Misérables, Les (1862) (1995)", year=1995)


def test_ratings_come_by_time_and_ties_in_the_file_s_order():
    ratings = movielens.parse_ratings(U_DATA)
    assert ratings["user_id"].tolist() == ["22", "196", "7"]
    assert ratings["ts_ms"].tolist() == [878887116000, 881250949000, 881250949000]
    assert (ratings["rating"].dtype, ratings["ts_ms"].dtype) == (np.float64, np.int64)


def test_files_are_restored_to_the_byte():
    rows = [line.split("|") for line in U_ITEM.decode("latin-1").splitlines()]
    names = ["movie_id", "movie_title", "release_date", "video_release_date", "IMDb_URL", *movielens.GENRES]
    items = pd.DataFrame(rows, columns=names).replace("", None)
    items = items.astype({"movie_id": "int64", "video_release_date": "float64"} | dict.fromkeys(movielens.GENRES, int))
    ratings = pd.DataFrame(
        [[int(field) for field in line.split(b"\t")] for line in U_DATA.splitlines()],
        columns=["user_id", "movie_id", "rating", "timestamp"],
    )
    assert movielens.restore_files(ratings, items) == {"u.data": U_DATA, "u.item": U_ITEM}


def test_without_any_source_the_user_is_told_what_to_do(tmp_path):
    def offline():
        raise OSError("no route")

    with pytest.raises(DataError, match=r"\(GroupLens: no route\).*--data synthetic"):
        movielens.load_movielens(tmp_path, [("GroupLens", offline)])


def test_only_the_published_content_is_believed(tmp_path):
    assert hashlib.sha256(U_DATA).hexdigest() != movielens.CHECKSUMS["u.data"]
    with pytest.raises(DataError, match=r"u\.data must have SHA-256 06416e59"):
        movielens.load_movielens(tmp_path, [("fake", lambda: {"u.data": U_DATA, "u.item": U_ITEM})])
