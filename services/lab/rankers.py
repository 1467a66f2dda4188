"""The project's policies as rankers of the next item, each with a model of the events before the cut."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from recommender.catalogue import CatalogueEntry, LabelledModel, VectorsOf, build_catalogue
from recommender.factors.embedding import embed_log, newest_ratings
from recommender.factors.training import FactorSettings, train_factors
from recommender.policies import PolicyModel, PolicySettings
from recommender.policies.linear import LINEAR
from recommender.ranking.log import RatingLog
from recommender.ranking.next_item import Ranker
from recommender.ranking.policies import PolicyRanker, ScoringPolicy
from recommender.rl.model import ACTORS, ActorModel
from recommender.rl.ranker import ActorRanker
from recommender.rl.training import ActorSettings, OnStep
from recommender.sequence.model import SEQUENCE
from recommender.sequence.training import OnEpoch, SequenceSettings
from schemas.errors import ConfigurationError
from schemas.events import Item
from services.lab.contestants import RANDOM, make_contestant

INNER = "inner"
_EVALUATED = "before-the-cut"


@dataclass(frozen=True, slots=True)
class Trainings:
    """How the policies' models are trained on the events before the cut.

    Attributes:
        factors: the model of linear.
        sequence: the model of sequence.
        on_epoch: told of each epoch of sequence's.
        actor: those of :data:`~recommender.rl.model.ACTORS`.
        on_step: told of each step of theirs.
        scale: least and highest rating there can be.
    """

    factors: FactorSettings
    sequence: SequenceSettings
    on_epoch: OnEpoch | None = None
    actor: ActorSettings = field(default_factory=ActorSettings)
    on_step: OnStep | None = None
    scale: tuple[float, float] = (0.5, 5.0)


def policy_rankers(
    names: Sequence[str],
    items: Sequence[Item],
    vectors_of: VectorsOf | None,
    settings: PolicySettings,
    trainings: Trainings,
) -> Mapping[str, Callable[[RatingLog], Ranker]]:
    """Return what makes each policy's ranker out of the events before the cut.

    Rankers go by scores alone: nothing is explored.

    Args:
        names: of the policies.
        items: of the log's rows.
        vectors_of: gives the items their vectors, for policies without a model of their own; None for no vectors.
        settings: parameters of the policies.
        trainings: how the models are trained.

    Raises:
        ConfigurationError: a name is unknown, or its policy does not rank by scores.
    """
    trainers: Mapping[str, Callable[[RatingLog], PolicyModel]] = {
        LINEAR: lambda past: train_factors(items, newest_ratings(past), trainings.factors),
        SEQUENCE: lambda past: _train_sequence(past, items, trainings.sequence, trainings.on_epoch),
    }

    trainer_of = lru_cache(maxsize=1)(lambda past: ActorTrainer(past, items, trainings))

    def maker_of(name: str) -> Callable[[RatingLog], Ranker]:
        if name in ACTORS:
            fallback = maker_of(settings.actor_fallback)
            return lambda past: _actor_ranker(trainer_of(past), name, items, settings, fallback(past))
        policy = make_contestant(name, settings)
        if name.startswith(RANDOM) or policy.model in ACTORS or not isinstance(policy, ScoringPolicy):
            raise ConfigurationError(f"policy {name!r} does not rank by scores: next_item cannot measure it")

        def make(past: RatingLog) -> Ranker:
            models = {}
            if policy.model is not None:
                models[policy.model] = LabelledModel(f"{policy.model}@{_EVALUATED}", trainers[policy.model](past))
            entries = [CatalogueEntry(item, row) for row, item in enumerate(items)]
            return PolicyRanker(policy, build_catalogue(entries, vectors_of, models=models))

        return make

    return {name: maker_of(name) for name in names}


def _train_sequence(
    past: RatingLog, items: Sequence[Item], settings: SequenceSettings, on_epoch: OnEpoch | None
) -> PolicyModel:
    try:
        from recommender.embeddings.sequence import train_sequence  # noqa: PLC0415 - torch only when asked for
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"training sequence needs {error.name}: install streamrec[trainer]") from error
    return train_sequence(past, [item.item_id for item in items], settings, on_epoch).model


def _actor_ranker(
    trainer: "ActorTrainer", name: str, items: Sequence[Item], settings: PolicySettings, fallback: Ranker
) -> ActorRanker:
    if settings.actor_distance not in {"model", INNER}:
        raise ConfigurationError(f"next_item ranks actors by {INNER}, got actor_distance {settings.actor_distance!r}")
    model = trainer.train(name)
    rerank = model.rerank if settings.actor_rerank is None else settings.actor_rerank
    return ActorRanker(model.align(items), fallback, rerank)


class ActorTrainer:
    """Trains actors on one log; the cloning that all of them begin with is done once.

    Args:
        past: the log.
        items: of the log's rows.
        trainings: how they are trained.
    """

    def __init__(self, past: RatingLog, items: Sequence[Item], trainings: Trainings) -> None:
        self._past, self._items, self._trainings = past, items, trainings
        self._cloned: dict[str, Any] | None = None

    def train(self, name: str) -> ActorModel:
        """Return the model of one of :data:`~recommender.rl.model.ACTORS`.

        Raises:
            ConfigurationError: torch is not installed, or the log is too short.
        """
        try:
            from recommender.rl.loop import train_actor  # noqa: PLC0415 - torch only when asked for
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"training {name} needs {error.name}: install streamrec[trainer]") from error
        past, ids, given = self._past, [item.item_id for item in self._items], self._trainings
        try:
            vectors = embed_log(past, self._items, given.factors)
            return train_actor(
                name, past, ids, vectors, given.scale, given.actor, given.on_step, self._cloned, self._keep
            ).model
        except ValueError as error:
            raise ConfigurationError(f"{name} cannot be trained on these events: {error}") from error

    def _keep(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint["step"] == self._trainings.actor.clone_steps:
            self._cloned = checkpoint
