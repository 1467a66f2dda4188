"""The answer to one request: a pure function of the request, the state, the statistics, the catalogue and the seed."""

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from recommender.catalogue import Catalogue
from recommender.draws import Draws
from recommender.filters import allowed_rows
from recommender.ledger import NO_ENTRIES, Ledger, entries_of_all
from recommender.policies import Asked, Policy, PolicySettings, Slate, SlateRequest
from recommender.profile import Profile, Rated, build_profiles
from recommender.statistics import StatisticsView
from schemas.errors import LedgerError, RequestError
from schemas.events import (
    ErrorView,
    Recommendation,
    RecommendationRequest,
    RecommendedItem,
    StateView,
)
from services.scorer.explain import explain
from services.scorer.masks import MaskCache
from services.scorer.routing import Routing
from streams.store.reader import StateSnapshot


@dataclass(frozen=True, eq=False)
class Sight:
    """What every request of one micro-batch is answered from.

    Attributes:
        state: ledgers and watermarks.
        topic: hash of the ratings topic's id, as ledgers name it.
        catalogue: the items.
        statistics: of all items, aligned with ``catalogue``.
        statistics_to: per partition, the watermark up to which ``statistics`` include every event.
        unreadable: users whose stored ledger cannot be read, and why.
    """

    state: StateSnapshot
    topic: int
    catalogue: Catalogue
    statistics: StatisticsView
    statistics_to: Mapping[int, int]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def profiles(self) -> Mapping[str, Profile]:
        """The users as the policies see them, all read at once."""
        return read_profiles(self.state.ledgers, self.catalogue)

    @cached_property
    def statistics_shown(self) -> dict[str, int]:
        """``statistics_to`` as answers carry it."""
        return _shown(self.statistics_to)

    @cached_property
    def applied_shown(self) -> dict[int, dict[str, int]]:
        """The watermarks of each shard as answers carry them."""
        return {shard: _shown(view.watermarks) for shard, view in self.state.shards.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A slate that was made with those of other requests.

    Attributes:
        policy: what made it.
        asked: what the policy was asked.
        slate: what it made.
    """

    policy: Policy
    asked: Asked
    slate: Slate


class Answerer:
    """Answers requests; which others are in the batch makes no difference.

    Args:
        routing: the policies.
        settings: their parameters.
        seed: of every draw.
    """

    def __init__(self, routing: Routing, settings: PolicySettings, seed: int) -> None:
        self._routing = routing
        self._settings = settings
        self._seed = seed
        self._masks = MaskCache()

    def check(self, request: RecommendationRequest) -> None:
        """Refuse what no state can make answerable.

        Raises:
            RequestError: with the answer's code.
        """
        self._routing.policy_of(request)

    def prepare(self, requests: Sequence[RecommendationRequest], sight: Sight) -> list[Prepared | None]:
        """Return the slates of requests, made together; None where that failed, which the request alone meets again."""
        prepared: list[Prepared | None] = [None] * len(requests)
        by_policy: defaultdict[str, list[int]] = defaultdict(list)
        asked: dict[int, tuple[Policy, Asked]] = {}
        for place, request in enumerate(requests):
            with contextlib.suppress(Exception):
                asked[place] = self._ask(request, sight)
                by_policy[asked[place][0].name].append(place)
        for places in by_policy.values():
            with contextlib.suppress(Exception):
                for place, own in zip(places, _make_slates([asked[place] for place in places], sight), strict=True):
                    prepared[place] = own
        return prepared

    def answer(self, request: RecommendationRequest, sight: Sight, prepared: Prepared | None = None) -> Recommendation:
        """Return the answer, its timing and ``ts_ms`` left to the caller.

        Args:
            request: what is asked.
            sight: what it is answered from.
            prepared: what :meth:`prepare` made of the request on this sight; None to make it now.

        Raises:
            RequestError: the policy is unknown, or needs a model that is not live.
            LedgerError: the user's ledger cannot be read.
        """
        if prepared is None:
            prepared = _make_slates([self._ask(request, sight)], sight)[0]
        asked, slate = prepared.asked, prepared.slate
        answer = self._fill(request, prepared.policy, slate, sight)
        answer.n_candidates = len(asked.request.rows)
        if request.explain:
            answer.explanation = explain(
                prepared.policy, self._settings, slate, asked.profile, sight.catalogue, sight.statistics, asked.draws
            )
        return answer

    def _ask(self, request: RecommendationRequest, sight: Sight) -> tuple[Policy, Asked]:
        if request.user_id in sight.unreadable:
            raise LedgerError(sight.unreadable[request.user_id])
        policy = self._routing.policy_of(request)
        _check_model(request, policy, sight.catalogue)
        profile = sight.profiles[request.user_id]
        rows = allowed_rows(
            sight.catalogue,
            candidates=request.candidates,
            exclude=request.exclude,
            exclude_rows=profile.rows if request.exclude_seen else None,
            allowed=self._masks.mask_of(request.filters, sight.catalogue),
        )
        draws = Draws(self._seed, request.user_id, request.request_id)
        return policy, Asked(SlateRequest(k=request.k, rows=rows, epsilon=request.epsilon), profile, draws)

    def refuse(
        self, request_id: str, user_id: str, code: str, message: str, sight: Sight | None = None
    ) -> Recommendation:
        """Return an answer without items; ``sight`` when the state was looked at."""
        shown = message.encode(errors="replace").decode()
        return Recommendation(
            request_id=request_id,
            user_id=user_id,
            seed=self._seed,
            state=StateView() if sight is None else view_state(user_id, sight),
            error=ErrorView(code=code, message=shown),
        )

    def _fill(self, request: RecommendationRequest, policy: Policy, slate: Slate, sight: Sight) -> Recommendation:
        item_ids = sight.catalogue.item_ids
        columns = zip(
            slate.rows.tolist(),
            slate.scores.tolist(),
            slate.propensities.tolist(),
            slate.explored.tolist(),
            slate.parts,
            strict=True,
        )
        return Recommendation(
            request_id=request.request_id,
            user_id=request.user_id,
            policy=policy.name,
            policy_version=policy.version,
            model=_label(policy, sight.catalogue),
            items=[
                RecommendedItem(
                    item_id=item_ids[row], score=score, propensity=propensity, explored=explored, parts=parts
                )
                for row, score, propensity, explored, parts in columns
            ],
            slate_propensity=slate.slate_propensity,
            propensity_kind=slate.propensity_kind,
            epsilon=slate.epsilon,
            seed=self._seed,
            state=view_state(request.user_id, sight),
        )


def _make_slates(asked: Sequence[tuple[Policy, Asked]], sight: Sight) -> list[Prepared]:
    """Return the slates of requests to one policy."""
    policy = asked[0][0]
    slates = policy.slates([one for _, one in asked], sight.catalogue, sight.statistics)
    return [Prepared(policy, one, slate) for (_, one), slate in zip(asked, slates, strict=True)]


def _check_model(request: RecommendationRequest, policy: Policy, catalogue: Catalogue) -> None:
    if policy.model is not None and policy.model not in catalogue.models:
        raise RequestError(
            "model_unavailable",
            f"policy {policy.name!r} needs a model, and no release named {policy.model!r} is live",
            request_id=request.request_id,
            user_id=request.user_id,
        )


def _label(policy: Policy, catalogue: Catalogue) -> str | None:
    """Return the release that the scores come from: the policy's own model, else the item vectors."""
    return (catalogue.models[policy.model].label if policy.model else catalogue.embedding_label) or None


def read_profiles(ledgers: Mapping[str, Ledger | None], catalogue: Catalogue) -> dict[str, Profile]:
    """Return users' profiles; a ledger's mean serves when it was made with this catalogue's vectors, all of them."""
    known = [ledger for ledger in ledgers.values() if ledger is not None]
    entries = iter(entries_of_all(known))
    rated = [
        Rated(user_id, 0, np.zeros(catalogue.dim), NO_ENTRIES)
        if ledger is None
        else Rated(
            user_id, ledger.t, ledger.mean if _is_current(ledger, catalogue) else None, next(entries), ledger.tail
        )
        for user_id, ledger in ledgers.items()
    ]
    return {profile.user_id: profile for profile in build_profiles(rated, catalogue)}


def _is_current(ledger: Ledger, catalogue: Catalogue) -> bool:
    return ledger.embedding_id == catalogue.embedding_id and not ledger.unembedded and len(ledger.mean) == catalogue.dim


def view_state(user_id: str, sight: Sight) -> StateView:
    """Return how fresh an answer to a user is."""
    ledger, shard = sight.state.ledgers.get(user_id), sight.state.view(user_id)
    last = ledger.last if ledger is not None else None
    is_of_this_log = last is not None and last.topic == sight.topic
    return StateView(
        t=0 if ledger is None else ledger.t,
        partition=last.partition if last is not None and is_of_this_log else None,
        offset=last.offset if last is not None and is_of_this_log else None,
        applied_to=sight.applied_shown[sight.state.shard_of[user_id]],
        statistics_to=sight.statistics_shown,
        watermark_age_ms=shard.age_ms,
    )


def _shown(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in offsets.items()}
