"""Policies that compute with a trained model: what such a model is, and how one is read from a release.

A release of kind ``policy`` bears the policy's name, and its metadata names the same type. A catalogue keeps each model
aligned with its rows (:attr:`recommender.catalogue.Catalogue.models`), so that items and models change at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from recommender.catalogue import Aligned, AlignedModel, Catalogue
from recommender.factors.model import FactorModel
from recommender.rl.model import ACTORS, ActorModel
from recommender.sequence.model import SEQUENCE, SequenceModel
from recommender.tensors import Metadata, Tensors
from schemas.errors import ModelError, ModelUnavailable
from schemas.events import Item


class PolicyModel(Protocol):
    """A policy's model as released; a value that is checked when it is made."""

    @property
    def type(self) -> str:
        """The name of the policy that computes with it."""
        ...

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items it was learned from."""
        ...

    def to_tensors(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the model as named arrays and metadata; the same model gives the same ones."""
        ...

    def align(self, items: Sequence[Item]) -> Aligned:
        """Return what the policy computes with, row by row as ``items``."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what a manifest says of the model, as JSON can."""
        ...


ReadModel = Callable[[Tensors, Metadata], PolicyModel]

POLICY_MODELS: Mapping[str, ReadModel] = {
    "linear": FactorModel.from_tensors,
    SEQUENCE: SequenceModel.from_tensors,
    **dict.fromkeys(ACTORS, ActorModel.from_tensors),
}
"""Name of the policy to what reads its model, and raises :class:`~schemas.errors.ModelError` where it is none."""


def read_policy_model(
    name: str, tensors: Tensors, metadata: Metadata, scale: tuple[float, float] | None = None
) -> PolicyModel:
    """Return the model of the policy ``name``.

    Args:
        name: of the policy.
        tensors: of the release.
        metadata: of the release.
        scale: least and highest rating of the state it is for; None where no state is meant.

    Raises:
        ModelError: no policy of that name has a model, this is not one of it, or it was learned on another scale.
    """
    read = POLICY_MODELS.get(name)
    if read is None:
        raise ModelError(f"a policy's release must be named one of {', '.join(POLICY_MODELS)}, got {name!r}")
    model = read(tensors, metadata)
    if model.type != name:
        raise ModelError(f"the release of {name!r} must hold a model of type {name!r}, got {model.type!r}")
    if scale is not None and isinstance(model, ActorModel):
        model.check_scale(scale)
    return model


def model_of(catalogue: Catalogue, name: str) -> AlignedModel:
    """Return the model of the policy ``name`` on the catalogue's rows.

    Raises:
        ModelUnavailable: the catalogue has none.
    """
    found = catalogue.models.get(name)
    if found is None:
        raise ModelUnavailable(f"policy {name!r} needs a model, and no release named {name!r} is live")
    return found
