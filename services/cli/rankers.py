"""The project's policies as rankers of the next item, each with a model of the events before the cut."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from recommender.catalogue import CatalogueEntry, LabelledModel, VectorsOf, build_catalogue
from recommender.factors.training import FactorSettings, Ratings, train_factors
from recommender.policies import POLICIES, PolicyModel, make_policy
from recommender.policies.linear import LINEAR
from recommender.ranking.log import RatingLog
from recommender.ranking.next_item import Ranker
from recommender.ranking.policies import PolicyRanker, ScoringPolicy
from recommender.sequence.model import SEQUENCE
from recommender.sequence.training import OnEpoch, SequenceSettings
from schemas.codec import RATING_QUANTUM
from schemas.errors import ConfigurationError
from schemas.events import Item
from services.lab.vectors import train_vectors
from services.scorer.routing import make_policy_settings
from services.trainer.sequence import train_on
from streams.settings import Settings

_EVALUATED = "before-the-cut"


def check_rankable(names: Sequence[str]) -> None:
    """Refuse a policy that does not rank by scores, or is none.

    Raises:
        ConfigurationError: naming it.
    """
    rankable = [name for name in POLICIES if not name.startswith("random")]
    for name in names:
        if name not in rankable:
            raise ConfigurationError(f"a policy that ranks must be one of {', '.join(rankable)}, got {name!r}")


def policy_rankers(
    names: Sequence[str], items: Sequence[Item], settings: Settings, seed: int, on_epoch: OnEpoch | None = None
) -> Mapping[str, Callable[[RatingLog], Ranker]]:
    """Return what makes each policy's ranker out of the events before the cut.

    Rankers go by scores alone: nothing is explored. Policies without a model of their own have content vectors, by
    principal components of genres and years.

    Args:
        names: of the policies.
        items: of the log's rows.
        settings: parameters of the policies.
        seed: of the training of models.
        on_epoch: told of each epoch of sequence's training.
    """
    trainers: Mapping[str, Callable[[RatingLog], PolicyModel]] = {
        LINEAR: lambda past: _train_linear(past, items, seed),
        SEQUENCE: lambda past: train_on(past, items, SequenceSettings(seed=seed), on_epoch).model,
    }
    vectors_of = _content_of(items, seed)

    def maker_of(name: str) -> Callable[[RatingLog], Ranker]:
        def make(past: RatingLog) -> Ranker:
            models = {name: LabelledModel(f"{name}@{_EVALUATED}", trainers[name](past))} if name in trainers else {}
            entries = [CatalogueEntry(item, row) for row, item in enumerate(items)]
            policy = make_policy(name, make_policy_settings(settings))
            assert isinstance(policy, ScoringPolicy)
            return PolicyRanker(policy, build_catalogue(entries, vectors_of, models=models))

        return make

    return {name: maker_of(name) for name in names}


def _content_of(items: Sequence[Item], seed: int) -> VectorsOf | None:
    has_content = any(item.genres or item.year is not None for item in items)
    return train_vectors("pca", items, seed).vectors_for if has_content else None


def _train_linear(past: RatingLog, items: Sequence[Item], seed: int) -> PolicyModel:
    """Return factors of the newest rating of each user and item."""
    pairs = past.users * past.size + past.rows
    newest = len(past) - 1 - np.unique(pairs[::-1], return_index=True)[1]
    _, users = np.unique(past.users[newest], return_inverse=True)
    values = past.ratings[newest] / RATING_QUANTUM
    return train_factors(items, Ratings(users, past.rows[newest], values), FactorSettings(seed=seed))
