import re

import numpy as np
import pytest

from recommender.tensors import (
    check_finite,
    read_about,
    read_numbers,
    read_strings,
    rows_by_id,
    write_about,
    write_strings,
)
from schemas.errors import ModelError

FIELDS = {"type": str, "layers": int}


def test_what_is_said_of_a_model_comes_back():
    about = {"format": 1, "type": "linear", "layers": 2}
    assert read_about(write_about("key", about), "key", "policy", 1, FIELDS) == about


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({}, "no policy model: its metadata has no readable key"),
        ({"key": "{"}, "no policy model: its metadata has no readable key"),
        ({"key": "[]"}, "the policy format must be 1, got []"),
        ({"key": '{"format": 2}'}, "the policy format must be 1, got 2"),
        ({"key": '{"format": 1, "type": 3}'}, "the policy's type must be of type str, got 3"),
        ({"key": '{"format": 1, "type": "a"}'}, "the policy's layers must be of type int, got None"),
    ],
)
def test_metadata_of_another_form_is_refused(metadata, why):
    with pytest.raises(ModelError, match=re.escape(why)):
        read_about(metadata, "key", "policy", 1, FIELDS)


def test_strings_of_any_script_come_back():
    assert read_strings({"ids": write_strings(["a", "\u00e9\u4e2d", ""])}, "ids") == ("a", "\u00e9\u4e2d", "")


@pytest.mark.parametrize("array", [None, np.ones(2), np.frombuffer(b"{", np.uint8), np.frombuffer(b"[1]", np.uint8)])
def test_what_is_no_list_of_strings_is_refused(array):
    with pytest.raises(ModelError, match="ids"):
        read_strings({} if array is None else {"ids": array}, "ids")


@pytest.mark.parametrize("array", [np.ones(2), np.ones((2, 2), np.float32)])
def test_numbers_of_another_type_or_shape_are_refused(array):
    with pytest.raises(ModelError, match="x must be float32 of 1 dimensions"):
        read_numbers({"x": array}, "x", 1)


def test_the_first_number_that_is_not_finite_is_named():
    with pytest.raises(ModelError, match=re.escape("x must be finite, got 2 that are not, the first nan at (1,)")):
        check_finite(np.array([1.0, np.nan, np.inf]), "x")


def test_an_id_that_stands_twice_is_refused():
    assert rows_by_id(["a", "b"]) == {"a": 0, "b": 1}
    with pytest.raises(ModelError, match="got 2 of which 1 differ"):
        rows_by_id(["a", "a"])
