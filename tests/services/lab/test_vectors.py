from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from schemas.errors import DataError
from schemas.events import Item
from services.lab.vectors import read_vectors, train_vectors


def write(tmp_path, **columns):
    path = tmp_path / "vectors.parquet"
    pd.DataFrame(columns).to_parquet(path)
    return path


def test_vectors_are_found_by_item_and_rounded_to_float32(tmp_path):
    path = write(tmp_path, x1=[0.1, 0.2], item_id=["b", "a"], x0=[1.0, 2.0], title=["B", "A"])
    vectors, has_vector = read_vectors(path)([Item(item_id="a"), Item(item_id="z"), Item(item_id="b")])
    expected = [[2.0, np.float32(0.2)], [0.0, 0.0], [1.0, np.float32(0.1)]]
    np.testing.assert_array_equal(vectors, np.array(expected, dtype=np.float64))
    assert has_vector.tolist() == [True, False, True]


def test_item_ids_may_be_integers(tmp_path):
    vectors, has_vector = read_vectors(write(tmp_path, item_id=[7], x0=[1.5]))([Item(item_id="7")])
    assert (vectors.tolist(), has_vector.tolist()) == ([[1.5]], [True])


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"item_id": ["a"], "x1": [1.0]}, "must have the columns item_id, x0"),
        ({"x0": [1.0]}, "must have the columns item_id, x0"),
        ({"item_id": ["a", "a"], "x0": [1.0, 2.0]}, "each item once, got 2 rows of 1 items"),
        ({"item_id": ["a", "b"], "x0": [1.0, np.inf]}, "must be finite, got .* for item 'b'"),
        ({"item_id": ["a"], "x0": ["one"]}, "a coordinate must be a number"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, columns, says):
    with pytest.raises(DataError, match=says):
        read_vectors(write(tmp_path, **columns))


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "v.parquet").write_text("item_id,x0")
    for name in ("v.parquet", "absent.parquet"):
        with pytest.raises(DataError, match=name):
            read_vectors(tmp_path / name)


def test_pca_gives_items_alike_the_same_vector():
    items = [Item(item_id=str(i), genres=(("Drama", "War")[i % 2],), year=1990 + i % 3) for i in range(12)]
    model = train_vectors("pca", items, seed=7)
    vectors, _ = model.vectors_for(items)
    assert vectors[0].tolist() == vectors[6].tolist() != vectors[1].tolist()


def test_training_needs_two_items_of_which_something_is_known():
    with pytest.raises(DataError, match="got 1 of 2"):
        train_vectors("pca", [Item(item_id="a", year=1990), Item(item_id="b")], seed=7)


VECTORS = {"a": [1.0, 0.5], "7": [0.0, 2.0]}


def write_npz(path):
    np.savez(path, item_ids=np.array(list(VECTORS)), vectors=np.array(list(VECTORS.values())))


def write_safetensors(path):
    safetensors.numpy.save_file({name: np.array(x, np.float32) for name, x in VECTORS.items()}, path)


def write_torch(path):
    torch = pytest.importorskip("torch")
    torch.save({name: torch.tensor(x) for name, x in VECTORS.items()}, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [("x.npz", write_npz), ("x.safetensors", write_safetensors), ("x.pt", write_torch), ("x.pth", write_torch)],
)
def test_vectors_of_your_own_come_from_any_of_these_files(tmp_path, name, write):
    write(tmp_path / name)
    vectors, has_vector = read_vectors(tmp_path / name)([Item(item_id=each) for each in ("7", "b", "a")])
    assert vectors.tolist() == [[0.0, 2.0], [0.0, 0.0], [1.0, 0.5]]
    assert has_vector.tolist() == [True, False, True]


def test_a_file_of_torch_that_holds_code_is_refused_and_the_code_is_not_run(tmp_path):
    torch = pytest.importorskip("torch")

    class Trap:
        def __reduce__(self):
            return Path.write_text, (tmp_path / "ran", "yes")

    torch.save({"a": Trap()}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="holds more than tensors"):
        read_vectors(tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


def test_pickled_strings_of_an_npz_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", item_ids=np.array(["a", None], dtype=object), vectors=np.ones((2, 2)))
    with pytest.raises(DataError, match=r"x\.npz"):
        read_vectors(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"vectors": np.ones((2, 2))}, "must have the arrays item_ids and vectors, got vectors"),
        ({"item_ids": np.array(["a"]), "vectors": np.ones((2, 2))}, r"of shape \[1, D\], got \(2, 2\)"),
        ({"item_ids": np.array(["a", "a"]), "vectors": np.ones((2, 2))}, "must name each item once"),
        ({"item_ids": np.array([0.5]), "vectors": np.ones((1, 2))}, "must be strings or integers"),
        ({"item_ids": np.array(["a"]), "vectors": np.full((1, 2), np.inf)}, "must be finite"),
    ],
)
def test_an_npz_whose_parts_do_not_fit_is_refused(tmp_path, arrays, why):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=why):
        read_vectors(tmp_path / "x.npz")


def test_tensors_of_unlike_lengths_are_refused(tmp_path):
    safetensors.numpy.save_file({"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="all of one D"):
        read_vectors(tmp_path / "x.safetensors")
