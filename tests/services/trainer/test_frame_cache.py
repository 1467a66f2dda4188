from dataclasses import fields

import numpy as np
import pytest

from recommender.ranking.log import RatingLog
from recommender.rl.frames import Frames, make_frames
from services.trainer import frame_cache
from services.trainer.frame_cache import cached_frames, key_of

SCALE = (0.5, 5.0)


def log_of(users=(0, 0, 1, 0, 1, 1), rows=(1, 2, 3, 4, 5, 6), ratings=(5, 10, 15, 20, 25, 30)):
    columns = (np.array(column, dtype=np.int64) for column in (users, rows, ratings))
    users, rows, ratings = columns
    return RatingLog(users, rows, ratings * 1000, ("u", "v"), 9)


def test_frames_come_back_as_they_were_made(tmp_path, monkeypatch):
    made = make_frames(log_of(), 2, SCALE)
    for _ in range(2):
        kept = cached_frames(log_of(), 2, SCALE, 2, tmp_path / "deep")
        for field in fields(Frames):
            own, other = getattr(kept, field.name), getattr(made, field.name)
            assert own.dtype == other.dtype
            np.testing.assert_array_equal(own, other)
        monkeypatch.setattr(frame_cache, "make_frames", None)  # the second time nothing is made
    assert len(list((tmp_path / "deep").iterdir())) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"frame_size": 3},
        {"least": 1},
        {"scale": (0.0, 5.0)},
        {"scale": (0.5, 6.0)},
        {"log": log_of(users=(0, 0, 1, 0, 1, 0))},
        {"log": log_of(rows=(1, 2, 3, 4, 5, 7))},
        {"log": log_of(ratings=(5, 10, 15, 20, 25, 35))},
        {"log": log_of().before(5)},
    ],
)
def test_whatever_shapes_frames_is_in_the_key(tmp_path, changed):
    given = {"log": log_of(), "frame_size": 2, "scale": SCALE, "least": 2}
    cached_frames(**given, folder=tmp_path)
    asked = {**given, **changed}
    assert key_of(**asked) != key_of(**given)
    kept, made = cached_frames(**asked, folder=tmp_path), make_frames(**asked)
    for field in fields(Frames):
        np.testing.assert_array_equal(getattr(kept, field.name), getattr(made, field.name))


def test_another_revision_has_other_files(monkeypatch):
    before = key_of(log_of(), 2, SCALE, 2)
    monkeypatch.setattr(frame_cache, "REVISION", 2)
    assert key_of(log_of(), 2, SCALE, 2) != before


def test_a_file_that_cannot_be_read_is_made_again(tmp_path):
    cached_frames(log_of(), 2, SCALE, 2, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for broken in (b"nothing", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        assert len(cached_frames(log_of(), 2, SCALE, 2, tmp_path)) == 2
        with np.load(path) as kept:
            assert kept["rows"].tolist() == [[1, 2, 4], [3, 5, 6]]
