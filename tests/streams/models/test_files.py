import os
from uuid import uuid4

import pytest

from schemas.errors import ModelError
from streams.models.files import read_file, resolve, write_file


@pytest.fixture(params=["path", "file", "memory"])
def directory(request, tmp_path):
    return {
        "path": str(tmp_path / "a b#%20"),
        "file": f"file://{tmp_path}",
        "memory": f"memory://{uuid4().hex}",
    }[request.param]


def test_what_is_written_is_read(directory):
    url = f"{directory}/deep/er/file"
    write_file(url, b"one")
    write_file(url, b"two")
    assert read_file(url, 3) == b"two"


def test_a_missing_file_is_none(directory):
    assert read_file(f"{directory}/nowhere/file", 10) is None


def test_a_file_above_the_limit_is_refused(directory):
    write_file(f"{directory}/file", b"four")
    with pytest.raises(ModelError, match="at most 3 bytes, found more"):
        read_file(f"{directory}/file", 3)


def test_a_relative_path_becomes_a_url_that_means_the_same_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve(".streamrec/models/") == f"file://{tmp_path}/.streamrec/models"
    assert resolve("memory://there/") == "memory:///there"


def test_an_unknown_scheme_is_refused_by_name():
    with pytest.raises(ModelError, match="no file system serves 'nosuch://x'"):
        read_file("nosuch://x", 10)


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        read_file(str(tmp_path), 10)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def fail(_):
        raise OSError("disk full")

    url = str(tmp_path / "file")
    write_file(url, b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ModelError, match=r"cannot be written.*disk full"):
        write_file(url, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert read_file(url, 10) == b"old"


def test_a_file_in_the_place_of_a_directory_is_an_error(tmp_path):
    write_file(str(tmp_path / "file"), b"x")
    with pytest.raises(ModelError, match="cannot be written"):
        write_file(str(tmp_path / "file" / "below"), b"x")
