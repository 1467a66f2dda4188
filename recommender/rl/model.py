"""The model of the policies of :data:`ACTORS`: an actor, its critics, and the items they speak of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import Flags, Floats, Integers, read_only
from recommender.embeddings.layers import Layer
from recommender.rl.distances import DISTANCES
from recommender.rl.network import Network, build_network, read_layers
from recommender.rl.recurrent import RecurrentNetwork, build_recurrent
from recommender.rl.state import state_size
from recommender.tensors import (
    Metadata,
    Tensors,
    check_finite,
    read_about,
    read_numbers,
    read_strings,
    rows_by_id,
    write_about,
    write_strings,
)
from schemas.errors import ModelError
from schemas.events import Item

ACTORS = ("ddpg", "td3", "reinforce", "bcq", "qlearning", "sarsa")
"""Names of the policies, and types of their models."""
MAX_FRAME_SIZE = 32
"""A ledger keeps so many of a user's newest events one by one."""
RERANKED = (50, 500)
"""How many of the nearest items critics may rank again."""
SLATE = 10
"""How many of them, however far, a ranking by critics has at least, where no slate says how many it needs."""

FORMAT = 1
METADATA_KEY = "streamrec_policy"
_ABOUT = {
    "type": str,
    "frame_size": int,
    "rating_min": float,
    "rating_max": float,
    "distance": str,
    "rerank": int,
    "actor_layers": int,
    "critic_layers": list,
}


@dataclass(frozen=True, slots=True, eq=False)
class ActorModel:
    """What was learned from frames of ratings. Numbers are those of float32, as a release keeps them.

    Attributes:
        type: name of the policy that computes with it, of :data:`ACTORS`.
        item_ids: the items it was learned from, N of them, distinct.
        vectors: x, shape [N, D].
        frame_size: F, how many of a user's newest ratings the state holds, 1..32.
        scale: least and highest rating of the log it was learned from.
        encoder: an LSTM's two layers, of events and of hidden units, whose last hidden units the actor's layers take in
            the state's place; None for none.
        least: how many ratings a state has at least, 1..F, the rest of it padded; None for F.
        actor: mu, layers from a state of F (D + 1) numbers to a proto-action of D, first to last.
        critics: Q of each critic, layers from [state, action] of F (D + 1) + D numbers to 1; none where there are none.
        distance: what the nearest items are by, unless a setting says otherwise; of
            :data:`~recommender.rl.distances.DISTANCES`.
        rerank: how many of the nearest items the critics rank again, 50..500; 0 for none.
        margin: how much farther than the nearest item, by ``distance``, one may lie that they rank again; None for any.

    Raises:
        ModelError: shapes do not fit, a number is not finite or out of range, or an id stands twice.
    """

    type: str
    item_ids: tuple[str, ...]
    vectors: Floats
    frame_size: int
    scale: tuple[float, float]
    actor: tuple[Layer, ...]
    critics: tuple[tuple[Layer, ...], ...] = ()
    distance: str = "euclidean"
    rerank: int = 0
    margin: float | None = None
    least: int | None = None
    encoder: tuple[Layer, Layer] | None = None
    actor_network: Network | RecurrentNetwork = field(init=False, repr=False)
    critic_networks: tuple[Network, ...] = field(init=False, repr=False)
    _rows: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.item_ids):  # noqa: PLR2004
            raise ModelError(f"vectors must have shape [{len(self.item_ids)}, D], got {list(self.vectors.shape)}")
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(self.vectors, dtype=np.float32).astype(np.float64)
        check_finite(vectors, "vectors")
        dim = vectors.shape[1]
        state = state_size(self.frame_size, dim)
        actor = (
            build_network(self.actor, state, dim, "actor")
            if self.encoder is None
            else build_recurrent(self.encoder, self.actor, self.frame_size, dim)
        )
        critics = tuple(build_network(each, state + dim, 1, f"critic.{i}") for i, each in enumerate(self.critics))
        kept = {
            "vectors": read_only(vectors),
            "actor": actor.layers,
            "encoder": actor.encoder if isinstance(actor, RecurrentNetwork) else None,
            "critics": tuple(critic.layers for critic in critics),
            "actor_network": actor,
            "critic_networks": critics,
            "_rows": rows_by_id(self.item_ids),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    def _check_numbers(self) -> None:
        if self.type not in ACTORS:
            raise ModelError(f"the policy's type must be one of {', '.join(ACTORS)}, got {self.type!r}")
        if not 1 <= self.frame_size <= MAX_FRAME_SIZE:
            raise ModelError(f"frame_size must be in 1..{MAX_FRAME_SIZE}, got {self.frame_size}")
        if not 1 <= self.least_events <= self.frame_size:
            raise ModelError(f"least must be in 1..{self.frame_size}, got {self.least}")
        low, high = self.scale
        if not -float("inf") < low < high < float("inf"):
            raise ModelError(f"the rating scale must be finite, its least rating below the highest, got {low}..{high}")
        if self.distance not in DISTANCES:
            raise ModelError(f"distance must be one of {', '.join(DISTANCES)}, got {self.distance!r}")
        if self.rerank and not RERANKED[0] <= self.rerank <= RERANKED[1]:
            raise ModelError(f"rerank must be 0 or in {RERANKED[0]}..{RERANKED[1]}, got {self.rerank}")
        if self.rerank and not self.critics:
            raise ModelError(f"rerank must be 0 without critics, got {self.rerank}")
        if self.margin is not None and not (self.rerank and 0.0 <= self.margin < float("inf")):
            raise ModelError(f"margin must be at least 0, and None where nothing is ranked again, got {self.margin}")

    @property
    def least_events(self) -> int:
        """How many ratings a state has at least."""
        return self.frame_size if self.least is None else self.least

    @property
    def dim(self) -> int:
        """The size of an item's vector and of an action, D."""
        return int(self.vectors.shape[1])

    def warm_up(self) -> None:
        """Compile what the networks run, or load it from disk."""
        for network in (self.actor_network, *self.critic_networks):
            network.run(np.zeros((1, network.inputs)))

    def check_scale(self, scale: tuple[float, float]) -> None:
        """Refuse a state whose ratings mean something else.

        Args:
            scale: least and highest rating of the state.

        Raises:
            ModelError: it is not the model's, naming both.
        """
        if scale != self.scale:
            own, other = ("{:g}..{:g}".format(*each) for each in (self.scale, scale))
            raise ModelError(f"the model was learned from ratings of {own} and the state's are of {other}")

    def describe(self) -> dict[str, Any]:
        """Return what a manifest says of the model."""
        return {
            "type": self.type,
            "items": len(self.item_ids),
            "dim": self.dim,
            "frame_size": self.frame_size,
            "rating_min": self.scale[0],
            "rating_max": self.scale[1],
            "actor": [self.actor_network.inputs, *(len(layer.bias) for layer in self.actor)],
            "critics": len(self.critics),
            "distance": self.distance,
            "rerank": self.rerank,
            "margin": self.margin,
            "least": self.least_events,
            "encoder": "flat" if self.encoder is None else "lstm",
        }

    def to_tensors(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the model as named arrays, numbers in float32, and metadata of one key: always the same bytes.

        Arrays: ``vectors`` [N, D], ``item_ids`` (a JSON list's UTF-8 bytes), ``actor.<i>.weight`` and ``.bias``,
        ``critic.<c>.<i>.weight`` and ``.bias``, ``encoder.<i>.weight`` and ``.bias``.
        """
        tensors: dict[str, NDArray[Any]] = {
            "item_ids": write_strings(self.item_ids),
            "vectors": self.vectors.astype(np.float32),
            **self.actor_network.to_tensors("actor"),
        }
        for number, critic in enumerate(self.critic_networks):
            tensors |= critic.to_tensors(f"critic.{number}")
        about = {
            "format": FORMAT,
            "type": self.type,
            "frame_size": self.frame_size,
            "rating_min": float(self.scale[0]),
            "rating_max": float(self.scale[1]),
            "distance": self.distance,
            "rerank": self.rerank,
            "actor_layers": len(self.actor),
            "critic_layers": [len(critic) for critic in self.critics],
            "margin": self.margin,
            "least": self.least,
            "is_recurrent": self.encoder is not None,
        }
        return tensors, write_about(METADATA_KEY, about)

    @classmethod
    def from_tensors(cls, tensors: Tensors, metadata: Metadata) -> "ActorModel":
        """Return the model that :meth:`to_tensors` described.

        Raises:
            ModelError: something is missing, of another kind, or does not fit the rest.
        """
        about = read_about(metadata, METADATA_KEY, "policy", FORMAT, _ABOUT)
        counts = about["critic_layers"]
        if not all(isinstance(count, int) for count in counts):
            raise ModelError(f"the policy's critic_layers must be a list of numbers, got {counts!r}")
        # Releases made before there was such a thing have neither.
        margin, least = about.get("margin"), about.get("least")
        if not isinstance(margin, float | None):
            raise ModelError(f"the policy's margin must be of type float, got {margin!r}")
        if not isinstance(least, int | None):
            raise ModelError(f"the policy's least must be of type int, got {least!r}")
        return cls(
            type=about["type"],
            item_ids=read_strings(tensors, "item_ids"),
            vectors=read_numbers(tensors, "vectors", 2).astype(np.float64),
            frame_size=about["frame_size"],
            scale=(about["rating_min"], about["rating_max"]),
            actor=read_layers(tensors, "actor", about["actor_layers"]),
            critics=tuple(read_layers(tensors, f"critic.{i}", count) for i, count in enumerate(counts)),
            distance=about["distance"],
            rerank=about["rerank"],
            margin=margin,
            least=least,
            encoder=_read_encoder(tensors) if about.get("is_recurrent") else None,
        )

    def align(self, items: Sequence[Item]) -> "AlignedActor":
        """Return the model on the rows of ``items``; an item it does not know has no vector."""
        rows = np.fromiter((self._rows.get(item.item_id, -1) for item in items), dtype=np.int64, count=len(items))
        has_vector = rows >= 0
        vectors = np.zeros((len(items), self.dim))
        vectors[has_vector] = self.vectors[rows[has_vector]]
        return AlignedActor(self, read_only(rows), read_only(vectors), read_only(has_vector))


def _read_encoder(tensors: Tensors) -> tuple[Layer, Layer]:
    of_events, of_hidden = read_layers(tensors, "encoder", 2)
    return of_events, of_hidden


@dataclass(frozen=True, slots=True, eq=False)
class AlignedActor:
    """A model on the rows of a catalogue.

    Attributes:
        model: as learned.
        rows: the model's row of each item, -1 for an item it does not know, shape [N].
        vectors: x, zero for an item it does not know, shape [N, D], float64, C-contiguous, read-only.
        has_vector: False for an item it does not know, shape [N].
    """

    model: ActorModel
    rows: Integers
    vectors: Floats
    has_vector: Flags
