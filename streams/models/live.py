"""Which releases are the newest on ``models``, and which are live; a new one is checked beside the live one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

from recommender.catalogue import Aligns, LabelledModel
from recommender.embeddings.model import EmbeddingModel
from schemas.codec import decode_release
from schemas.errors import ModelError
from schemas.events import ModelRelease
from streams import metrics
from streams.items import RecordPlace
from streams.models.releases import Tensors, load_policy_release, load_release

log = structlog.get_logger(__name__)

ReadPolicy = Callable[[str, Tensors, Mapping[str, str]], Aligns]
"""Makes the model of a policy's name, arrays and metadata; raises ModelError where they are none."""

_Model = TypeVar("_Model")


@dataclass(frozen=True, slots=True, eq=False)
class Released(Generic[_Model]):
    """A release and its model; None for none."""

    release: ModelRelease | None
    model: _Model | None


class ActiveRelease(Generic[_Model]):
    """Which release of one name is the newest on ``models``, and which one is live.

    Args:
        name: of the release.
        load: fetches and checks the model of a release, and raises ModelError where it cannot be used.
    """

    def __init__(self, name: str, load: Callable[[ModelRelease], _Model]) -> None:
        self._name = name
        self._load = load
        self._place: RecordPlace | None = None
        self._wanted: ModelRelease | None = None
        self._refused: ModelRelease | None = None
        self.live: Released[_Model] = Released(None, None)

    @property
    def is_behind(self) -> bool:
        """Whether the newest release is not the live one."""
        return self._wanted != self.live.release

    def apply(self, place: RecordPlace, name: str, release: ModelRelease | None) -> bool:
        """Take a record in; return whether it is of this name. No release leaves the name without one."""
        if name != self._name or (self._place is not None and not place.is_newer(self._place)):
            return False
        self._place, self._wanted = place, release
        return True

    def load(self) -> bool:
        """Make the newest release live and return whether another one is now; a bad one is refused, and said once."""
        wanted = self._wanted
        if wanted == self.live.release:
            return False
        before = self.live.release
        try:
            self.live = Released(wanted, None if wanted is None else self._load(wanted))
        except ModelError as error:
            if wanted != self._refused:
                metrics.RELEASES_REFUSED.inc()
                live = self.live.release.label if self.live.release else None
                log.warning("release.refused", release=wanted.label if wanted else None, live=live, why=str(error))
            self._refused = wanted
            return False
        self._refused = None
        metrics.show_release(
            self._name, before.version if before else None, wanted.version if wanted is not None else None
        )
        return True


class LiveReleases:
    """The active releases that a process follows: the embedding, and the models of policies.

    Args:
        embedding: name of the item vectors' release.
        read_policy: as :func:`~streams.models.releases.load_policy_release` takes it.
        policies: names of the policies whose models are followed.
    """

    def __init__(self, embedding: str, policies: Sequence[str] = (), read_policy: ReadPolicy | None = None) -> None:
        self._embedding: ActiveRelease[EmbeddingModel] = ActiveRelease(embedding, load_release)
        self._policies: dict[str, ActiveRelease[Aligns]] = {}
        if read_policy is not None:
            load = partial(load_policy_release, read=read_policy)
            self._policies = {name: ActiveRelease(name, load) for name in policies}

    @property
    def is_behind(self) -> bool:
        """Whether a newest release is not the live one."""
        return any(active.is_behind for active in self._all())

    @property
    def embedding(self) -> Released[EmbeddingModel]:
        """The live item vectors."""
        return self._embedding.live

    @property
    def models(self) -> dict[str, LabelledModel]:
        """The live models of policies."""
        live = {name: active.live for name, active in self._policies.items()}
        return {
            name: LabelledModel(each.release.label, each.model)
            for name, each in live.items()
            if each.release is not None and each.model is not None
        }

    def apply(self, place: RecordPlace, key: bytes | None, value: bytes | None) -> bool:
        """Take a record in; return whether it is of a name that is followed.

        Raises:
            EventError: the record breaks the contract; nothing changed.
        """
        release = None if value is None else decode_release(value)
        name = (key or b"").decode(errors="replace") if release is None else release.name
        taken = [active.apply(place, name, release) for active in self._all()]
        return any(taken)

    def load(self) -> list[ModelRelease | None]:
        """Make the newest releases live; return those that are now and were not before, None for a name without one."""
        return [active.live.release for active in self._all() if active.load()]

    def _all(self) -> Iterator[ActiveRelease[Any]]:
        yield self._embedding
        yield from self._policies.values()
