import json
from itertools import pairwise

import numpy as np
import pytest

from recommender.embeddings.layers import Layer
from recommender.policies import read_policy_model
from recommender.rl.model import ACTORS, ActorModel
from schemas.errors import ModelError
from schemas.events import Item


def layers(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(Layer(rng.normal(size=(o, i)), rng.normal(size=o)) for i, o in pairwise(sizes))


def model_of(**changed):
    # D = 2, F = 3: states of 3 (2 + 1) = 9 numbers
    given = {
        "type": "ddpg",
        "item_ids": ("a", "b"),
        "vectors": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "frame_size": 3,
        "scale": (0.5, 5.0),
        "actor": layers(9, 4, 2),
        "critics": (layers(11, 4, 1, seed=1), layers(11, 1, seed=2)),
        "distance": "cosine",
        "rerank": 50,
    }
    return ActorModel(**{**given, **changed})


@pytest.mark.parametrize("name", ACTORS)
def test_model_comes_back_from_its_tensors_and_computes_the_same_bits(name):
    model = model_of(type=name)
    again = read_policy_model(name, *model.to_tensors())
    assert (again.type, again.item_ids, again.scale) == (name, ("a", "b"), (0.5, 5.0))
    assert (again.frame_size, again.distance, again.rerank) == (3, "cosine", 50)
    assert again.vectors.tolist() == model.vectors.tolist()
    x = np.random.default_rng(3).normal(size=(4, 9))
    assert again.actor_network.run(x).tobytes() == model.actor_network.run(x).tobytes()
    pairs = np.random.default_rng(4).normal(size=(4, 11))
    for own, other in zip(model.critic_networks, again.critic_networks, strict=True):
        assert own.run(pairs).tobytes() == other.run(pairs).tobytes()


def test_a_model_of_another_policy_is_refused_by_name():
    with pytest.raises(ModelError, match="the release of 'td3' must hold a model of type 'td3', got 'ddpg'"):
        read_policy_model("td3", *model_of().to_tensors())


@pytest.mark.parametrize("margin", [None, 0.0, 0.12])
def test_a_margin_comes_back_and_an_older_release_has_none(margin):
    tensors, metadata = model_of(margin=margin).to_tensors()
    assert ActorModel.from_tensors(tensors, metadata).margin == margin
    about = json.loads(metadata["streamrec_policy"])
    del about["margin"], about["least"]
    assert ActorModel.from_tensors(tensors, {"streamrec_policy": json.dumps(about)}).margin is None
    with pytest.raises(ModelError, match="the policy's margin must be of type float, got 'wide'"):
        ActorModel.from_tensors(tensors, {"streamrec_policy": json.dumps({**about, "margin": "wide"})})


def test_how_many_ratings_a_state_has_at_least_comes_back():
    assert model_of().least_events == 3
    tensors, metadata = model_of(least=1).to_tensors()
    again = ActorModel.from_tensors(tensors, metadata)
    assert (again.least_events, again.describe()["least"]) == (1, 1)
    about = {**json.loads(metadata["streamrec_policy"]), "least": 1.5}
    with pytest.raises(ModelError, match=r"the policy's least must be of type int, got 1\.5"):
        ActorModel.from_tensors(tensors, {"streamrec_policy": json.dumps(about)})


def test_an_encoder_comes_back_and_reads_states():
    encoder = (layers(3, 20)[0], layers(5, 20)[0])
    model = model_of(encoder=encoder, actor=layers(5, 4, 2))
    tensors, metadata = model.to_tensors()
    again = ActorModel.from_tensors(tensors, metadata)
    x = np.random.default_rng(3).normal(size=(4, 9))
    assert again.actor_network.run(x).tobytes() == model.actor_network.run(x).tobytes()
    assert (again.describe()["encoder"], again.describe()["actor"]) == ("lstm", [9, 4, 2])
    del tensors["encoder.1.bias"]
    with pytest.raises(ModelError, match=r"no tensor 'encoder\.1\.bias'"):
        ActorModel.from_tensors(tensors, metadata)
    assert model_of().describe()["encoder"] == "flat"


def test_numbers_are_those_that_a_release_keeps():
    model = model_of(vectors=np.full((2, 2), 0.1))
    assert model.vectors.tolist() == np.full((2, 2), np.float32(0.1), dtype=np.float64).tolist()
    assert model.actor[0].weight.dtype == np.float32
    assert not model.actor[0].weight.flags.writeable


def test_alignment_follows_the_catalogue_and_a_new_item_has_no_vector():
    aligned = model_of().align([Item(item_id=name) for name in ("b", "new", "a")])
    assert aligned.rows.tolist() == [1, -1, 0]
    assert aligned.vectors.tolist() == [[3.0, 4.0], [0.0, 0.0], [1.0, 2.0]]
    assert aligned.has_vector.tolist() == [True, False, True]
    assert aligned.vectors.flags.c_contiguous
    assert not aligned.vectors.flags.writeable


def test_a_manifest_says_what_the_model_is():
    said = model_of().describe()
    assert (said["type"], said["items"], said["dim"], said["frame_size"]) == ("ddpg", 2, 2, 3)
    assert (said["rating_min"], said["rating_max"]) == (0.5, 5.0)
    assert (said["actor"], said["critics"]) == ([9, 4, 2], 2)


def test_a_state_of_another_rating_scale_is_refused():
    model_of().check_scale((0.5, 5.0))
    with pytest.raises(ModelError, match=r"learned from ratings of 0\.5\.\.5 and the state's are of 1\.\.5"):
        model_of().check_scale((1.0, 5.0))


def test_a_release_is_refused_for_a_state_of_another_scale():
    assert read_policy_model("ddpg", *model_of().to_tensors(), scale=(0.5, 5.0)).type == "ddpg"
    with pytest.raises(ModelError, match="learned from ratings of"):
        read_policy_model("ddpg", *model_of().to_tensors(), scale=(1.0, 5.0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"type": "linear"}, "type must be one of ddpg, td3, reinforce, bcq, qlearning, sarsa, got 'linear'"),
        ({"vectors": np.zeros((3, 2))}, r"vectors must have shape \[2, D\], got \[3, 2\]"),
        ({"vectors": np.full((2, 2), np.nan)}, "vectors must be finite"),
        ({"item_ids": ("a", "a")}, "item ids must be distinct"),
        ({"frame_size": 0}, r"frame_size must be in 1\.\.32, got 0"),
        ({"frame_size": 33}, r"frame_size must be in 1\.\.32, got 33"),
        ({"frame_size": 4}, r"actor.0 must have a weight of shape \[4, 12\]"),
        ({"scale": (5.0, 5.0)}, r"its least rating below the highest, got 5\.0\.\.5\.0"),
        ({"distance": "manhattan"}, "distance must be one of euclidean"),
        ({"rerank": 49}, r"rerank must be 0 or in 50\.\.500, got 49"),
        ({"critics": ()}, "rerank must be 0 without critics, got 50"),
        ({"least": 0}, r"least must be in 1\.\.3, got 0"),
        ({"least": 4}, r"least must be in 1\.\.3, got 4"),
        ({"margin": -0.1}, "margin must be at least 0, and None where nothing is ranked again, got -0.1"),
        ({"margin": float("inf")}, "margin must be at least 0, .* got inf"),
        ({"margin": 0.1, "rerank": 0}, "margin must be at least 0, .* got 0.1"),
        ({"critics": (layers(11, 4, 2),)}, r"critic.0.1 must have a weight of shape \[1, 4\]"),
    ],
)
def test_what_is_no_model_is_refused(changed, message):
    with pytest.raises(ModelError, match=message):
        model_of(**changed)


@pytest.mark.parametrize(
    "missing", ["vectors", "item_ids", "actor.0.weight", "actor.1.bias", "critic.0.1.weight", "critic.1.0.bias"]
)
def test_a_release_without_a_tensor_is_refused(missing):
    tensors, metadata = model_of().to_tensors()
    del tensors[missing]
    with pytest.raises(ModelError, match=missing):
        ActorModel.from_tensors(tensors, metadata)
