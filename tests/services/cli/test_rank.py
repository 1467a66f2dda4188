"""`streamrec rank`, on files of weights, vectors and facts."""

import json
import pickle

import numpy as np
import pytest
import safetensors.numpy
import torch
from scipy.spatial import distance as scipy_distance

from recommender.embeddings.layers import Layer
from recommender.rl.model import ActorModel
from streams.models.releases import save_release

DIM, FRAME = 128, 10
SIZES = {"linear1": (256, 1290), "linear2": (256, 256), "linear3": (128, 256)}
SEEN = ",".join(f"{row}:{1 + row % 5}" for row in range(FRAME))


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    tensors = {}
    for name, (outputs, inputs) in SIZES.items():
        tensors[f"{name}.weight"] = (rng.normal(size=(outputs, inputs)) / inputs**0.5).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=outputs).astype(np.float32)
    return tensors


@pytest.fixture
def vectors():
    return np.random.default_rng(1).normal(size=(30, DIM)).astype(np.float32)


@pytest.fixture
def files(tmp_path, weights, vectors):
    torch.save({name: torch.from_numpy(each) for name, each in weights.items()}, tmp_path / "actor.pt")
    safetensors.numpy.save_file(weights, tmp_path / "actor.safetensors")
    np.savez(tmp_path / "vectors.npz", item_ids=np.array([str(row) for row in range(30)]), vectors=vectors)
    facts = {"Title": "Toy Story", "Genre": "Animation, Comedy", "Language": "English", "Released": "22 Nov 1995"}
    omdb = {str(row): {"omdb": {**facts, "Title": f"Film {row}", "imdbRating": "8.3"}} for row in range(30)}
    omdb["29"] = {"omdb": {"Title": "N/A", "imdbRating": "N/A"}}
    (tmp_path / "omdb.json").write_text(json.dumps(omdb))
    (tmp_path / "items.csv").write_text("item_id,title,genres,year\n12,Heat,Crime|Drama,1995\n")
    return tmp_path


def command(*more, weights="actor.pt", embeddings="vectors.npz", frame=SEEN):
    return ("rank", "--weights", weights, "--embeddings", embeddings, "--frame", frame, *more)


def act(weights, vectors):
    """The actor of RecNN in torch, in float64."""
    ratings = 2 * (1 + np.arange(FRAME) % 5 - 2.5)
    x = torch.from_numpy(np.concatenate([vectors[:FRAME].reshape(-1), ratings]).astype(np.float64))
    for name in SIZES:
        weight, bias = (torch.from_numpy(weights[f"{name}.{part}"]).double() for part in ("weight", "bias"))
        x = weight @ x + bias
        x = x if name == "linear3" else torch.relu(x)
    return x.numpy()


def test_items_are_ranked_as_torch_and_scipy_would(run, files, weights, vectors):
    outcome = run(*command("--metric", "euclidean", "--metric", "correlation", "-k", 5, "--json"))
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["metrics"]
    action = act(weights, vectors)
    for name in ("euclidean", "correlation"):
        distances = {row: getattr(scipy_distance, name)(action, vectors[row].astype(float)) for row in range(10, 30)}
        expected = sorted(distances, key=distances.get)[:5]
        assert [line["item_id"] for line in found[name]] == [str(row) for row in expected]
        assert [line["rank"] for line in found[name]] == [1, 2, 3, 4, 5]
        got = [line["distance"] for line in found[name]]
        np.testing.assert_allclose(got, [distances[row] for row in expected], rtol=1e-9)


def test_the_same_files_give_the_same_bytes_in_both_formats(run, files):
    outputs = {run(*command("--json", weights=name)).out for name in ("actor.pt", "actor.safetensors", "actor.pt")}
    assert len(outputs) == 1


def test_seen_items_are_left_out(run, files):
    found = json.loads(run(*command("-k", 500, "--json")).out)
    assert {line["item_id"] for line in found["metrics"]["euclidean"]} == {str(row) for row in range(10, 30)}


def test_of_a_longer_frame_the_newest_count_and_all_are_left_out(run, files):
    longer = run(*command("-k", 500, "--json", frame=f"25:1,{SEEN}"))
    found = json.loads(longer.out)
    assert len(found["frame"]) == FRAME
    short = json.loads(run(*command("-k", 500, "--json")).out)
    distances = [
        {line["item_id"]: line["distance"] for line in each["metrics"]["euclidean"]} for each in (found, short)
    ]
    assert "25" not in distances[0]
    assert distances[0] == {item_id: value for item_id, value in distances[1].items() if item_id != "25"}


def test_tables_stand_side_by_side_with_what_omdb_says(run, files):
    outcome = run(*command("--metric", "cosine", "--metric", "cityblock", "--metadata", "omdb.json", "-k", 20))
    assert outcome.code == 0, outcome.err
    (titles,) = [line for line in outcome.out.splitlines() if "by cosine" in line]
    assert "by cityblock" in titles
    for word in ("Film 12", "Animation, Comedy", "English", "1995", "8.3"):
        assert word in outcome.out
    assert "N/A" not in outcome.out


def test_an_items_file_serves_as_metadata_and_none_is_needed(run, files):
    found = json.loads(run(*command("--metadata", "items.csv", "-k", 20, "--json")).out)["metrics"]["euclidean"]
    of_12 = next(line for line in found if line["item_id"] == "12")
    assert (of_12["title"], of_12["genres"], of_12["year"]) == ("Heat", ["Crime", "Drama"], 1995)
    assert run(*command()).code == 0


def test_a_release_gives_weights_and_vectors(run, files, weights, vectors):
    layers = tuple(Layer(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in SIZES)
    model = ActorModel("ddpg", tuple(map(str, range(30))), vectors.astype(float), FRAME, (0.5, 5.0), layers)
    save_release(model, str(files), "ddpg", "1", kind="policy")
    path = files / "ddpg" / "1" / "model.safetensors"
    assert run(*command("--json", weights=path, embeddings=path)).out == run(*command("--json")).out


def save(tmp_path, weights, **changed):
    kept = {name: each for name, each in {**weights, **changed}.items() if each is not None}
    safetensors.numpy.save_file(kept, tmp_path / "changed.safetensors")
    return "changed.safetensors"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"linear3.weight": np.zeros((127, 256), np.float32)}, "actor.2 must have a weight of shape [128, 256]"),
        ({"linear1.weight": np.zeros((256, 1289), np.float32)}, "F (128 + 1) numbers"),
        ({"linear2.bias": None}, "has linear2.weight and no linear2.bias"),
        ({"linear2.weight": None}, "beside 1 layers in a row: an actor must have linear1.weight"),
        ({"linear2.bias": np.zeros(256, np.int64)}, "linear2.bias must be of floating point, got int64"),
        ({"encoder.0.weight": np.zeros((8, 129), np.float32)}, "reads its state by an LSTM, which cannot be run here"),
        ({"linear1.bias": np.full(256, np.nan, np.float32)}, "actor.0.bias must be finite"),
    ],
)
def test_weights_that_are_no_such_actor_are_refused_with_what_is_expected(run, files, weights, changed, words):
    outcome = run(*command(weights=save(files, weights, **changed)))
    assert (outcome.code, outcome.out) == (1, "")
    assert words in outcome.err


def test_a_file_without_an_actor_is_told_what_one_has(run, files):
    safetensors.numpy.save_file({"other": np.zeros(2, np.float32)}, files / "other.safetensors")
    outcome = run(*command(weights="other.safetensors"))
    assert outcome.code == 1
    assert "has no actor, only other: an actor must have linear1.weight" in outcome.err
    assert "linear1 [256, 1290], linear2 [256, 256], linear3 [128, 256]" in outcome.err


class Trap:
    def __reduce__(self):
        return (open, ("sprung", "w"))


def test_pickled_code_is_not_run(run, files):
    torch.save({"linear1.weight": Trap()}, files / "trap.pt")
    (files / "plain.pt").write_bytes(pickle.dumps(Trap()))
    for name in ("trap.pt", "plain.pt"):
        outcome = run(*command(weights=name))
        assert outcome.code == 1
        assert "holds more than tensors, or cannot be read" in outcome.err
    assert not (files / "sprung").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"frame": "1:4"}, "must have at least 10 ratings, oldest first, got 1"),
        ({"frame": SEEN.replace("3:4", "300:4")}, "must have a vector, got none for '300'"),
        ({"frame": SEEN.replace("3:4", "3:6")}, "a rating must be in 0.5..5, got 6 for item '3'"),
        ({"frame": SEEN.replace("3:4", "3:nan")}, "a rating must be in 0.5..5, got nan"),
        ({"frame": SEEN.replace("3:4", "3")}, "frame must be ITEM:RATING"),
        ({"frame": SEEN.replace("3:4", "3:x")}, "frame must be ITEM:RATING"),
        ({"weights": "none.pt"}, "none.pt"),
        ({"weights": "items.csv"}, "must end in one of .safetensors, .pt, .pth, got .csv"),
        ({"embeddings": "actor.pt"}, "must have a tensor of shape [D] for each item"),
    ],
)
def test_wrong_arguments_are_named(run, files, said, words):
    outcome = run(*command(**said))
    assert (outcome.code, outcome.out) == (1, "")
    assert words in outcome.err


def test_metadata_of_another_form_is_refused(run, files):
    (files / "list.json").write_text("[1]")
    assert "must be an object of objects" in run(*command("--metadata", "list.json")).err
    assert "k must be at least 1, got 0" in run(*command("-k", 0)).err
