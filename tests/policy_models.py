"""Small models of the policies that need one, for any items."""

from functools import partial
from itertools import pairwise

import numpy as np

from recommender.catalogue import LabelledModel
from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.factors.content import ContentEncoder
from recommender.factors.model import FactorModel, Prior
from recommender.rl.model import ACTORS, ActorModel
from recommender.rl.state import state_size
from recommender.sequence.model import STAGES, SequenceModel


def linear_model(item_ids, vectors, noise=0.8):
    """A model whose factors are ``vectors``; content is the genre Drama and the word red."""
    rng = np.random.default_rng(11)
    dim = vectors.shape[1]
    content = ContentEncoder(FeatureEncoder(("Drama",), ()), ("red",))
    layer = Layer(rng.normal(size=(dim, 2)).astype(np.float32), np.zeros(dim, np.float32))
    root = rng.normal(size=(dim + 1, dim + 1)).astype(np.float32).astype(np.float64) / 2
    covariance = (root @ root.T).astype(np.float32).astype(np.float64)
    prior = Prior(np.linspace(-0.25, 0.25, dim + 1).astype(np.float32).astype(np.float64), covariance, noise)
    return FactorModel(tuple(item_ids), vectors, content, layer, prior)


def sequence_model(item_ids, vectors):
    """A model of two means with ``vectors`` on both sides, which knows all items but the last of several."""
    known = max(len(item_ids) - 1, min(len(item_ids), 1))
    vectors = vectors[:known]
    return SequenceModel(
        item_ids=tuple(item_ids[:known]),
        inputs=np.stack((vectors, -0.5 * vectors)),
        stages=np.full((STAGES, vectors.shape[1]), 0.25),
        outputs=vectors,
        bias=np.zeros(known),
        rates=np.array([0.75, 0.125]),
        popularity=np.ones(known),
        counts=np.ones(known),
        popularity_weight=0.75,
    )


def actor_model(name, item_ids, vectors):
    """A model of states of two ratings, which knows all items but the last of several; td3's and bcq's have critics."""
    rng = np.random.default_rng(13)
    known, dim = max(len(item_ids) - 1, min(len(item_ids), 1)), vectors.shape[1]

    def layers(*sizes):
        return tuple(Layer(rng.normal(size=(o, i)) / 2, rng.normal(size=o)) for i, o in pairwise(sizes))

    size = state_size(2, dim)
    return ActorModel(
        type=name,
        item_ids=tuple(item_ids[:known]),
        vectors=vectors[:known],
        frame_size=2,
        scale=(0.5, 5.0),
        actor=layers(size, 4, dim),
        critics=(layers(size + dim, 4, 1), layers(size + dim, 1)) if name in {"td3", "bcq"} else (),
        distance="euclidean" if name in {"ddpg", "td3"} else "inner",
        rerank=50 if name in {"td3", "bcq"} else 0,
        margin=0.5 if name == "bcq" else None,
    )


MODELS = {
    "linear": linear_model,
    "sequence": sequence_model,
    **{name: partial(actor_model, name) for name in ACTORS},
}
"""Name of the policy to what makes its model of item ids and vectors [N, D]."""


def labelled_models(item_ids, vectors):
    """A model of every policy that needs one, as ``name@1``."""
    return {name: LabelledModel(f"{name}@1", make(item_ids, vectors)) for name, make in MODELS.items()}
