"""The policies of actor-critic learning: an actor says where among the items to look, critics what is found there.

    a = mu(s),   score(i) = -distance(a, x_i),   or, among the nearest, min over critics of Q(s, x_i)

The state s is a user's newest frame of ratings. See docs/algorithms/actors.md.

Source: Dulac-Arnold et al. 2015, Deep reinforcement learning in large discrete action spaces, arXiv:1512.07679.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recommender.arrays import Floats, Integers
from recommender.catalogue import Catalogue
from recommender.draws import Draws
from recommender.policies.bandit import BanditPolicy, Exploration, build_slate, check_shapes
from recommender.policies.choices import choose_best, choose_epsilon_greedily
from recommender.policies.frame import Frame, frame_of
from recommender.policies.models import model_of
from recommender.policies.nearest import shortlist_nearest
from recommender.policies.protocol import Asked, Slate, SlateRequest
from recommender.policies.scores import Scores, Terms
from recommender.policies.search import positions_of
from recommender.policies.settings import PolicySettings
from recommender.profile import Profile
from recommender.rl.distances import FARTHEST, distances_to
from recommender.rl.model import AlignedActor
from recommender.rl.state import pad_states
from recommender.statistics import StatisticsView
from recommender.topk import top_k


@dataclass(frozen=True, slots=True, eq=False)
class ActorPolicy:
    """One of the policies; see :class:`recommender.policies.protocol.Policy`.

    Attributes:
        name: the name requests use, which is its model's too.
        version: the name and a hash of the rules and parameters.
        settings: its parameters.
        fallback: answers users with too few ratings for a state.
    """

    name: str
    version: str
    settings: PolicySettings
    fallback: BanditPolicy

    @property
    def model(self) -> str:
        """Name of the trained model it computes with."""
        return self.name

    def score(self, rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView) -> Scores:
        """Return the scores of ``rows``, shape [M]; each is independent of the other rows.

        Where critics rank again, the score is what they say of any item; slates have the nearest alone.

        Raises:
            ModelUnavailable: the catalogue has no model.
            ValueError: if profile or statistics do not belong to a catalogue of this shape.
        """
        check_shapes(profile, catalogue, statistics)
        looks = self._looks([profile], catalogue)[0]
        return self.fallback.score(rows, profile, catalogue, statistics) if looks is None else looks.score(rows)

    def terms(self, rows: Integers, profile: Profile, catalogue: Catalogue, statistics: StatisticsView) -> Terms | None:  # noqa: ARG002 - the protocol's
        """Return what the scores of ``rows`` are made of; None for a user whom the fallback answers.

        An actor is no sum over ratings. ``general`` is the score with a state of zeros; each rating of the frame adds
        what the score changes by when it joins the older ones in the state, so that all together give the score.
        """
        aligned = aligned_of(self.name, catalogue)
        frame = frame_of(profile, catalogue, aligned)
        if frame is None:
            return None
        model = aligned.model
        weights = np.tri(model.frame_size + 1, model.frame_size, -1)[-len(frame.rows) - 1 :]
        state = _state_of(aligned, frame)
        masks = np.concatenate((np.repeat(weights, model.dim, axis=1), weights), axis=1)
        states = masks * state
        actions = model.actor_network.run(states)
        steps = np.stack(
            [self._look(aligned, own, action).score(rows).score for own, action in zip(states, actions, strict=True)],
            axis=1,
        )
        shares = np.zeros((len(rows), len(profile.rows)))
        places = profile.places_of(frame.rows, catalogue.size)
        for place, added in zip(places.tolist(), np.diff(steps, axis=1).T, strict=True):
            shares[:, place] += added
        return Terms(prior=np.zeros(len(rows)), personal=steps[:, -1], general=steps[:, 0], shares=shares)

    def slates(self, asked: Sequence[Asked], catalogue: Catalogue, statistics: StatisticsView) -> list[Slate]:
        """Return the slates; the actor runs once for all of them.

        See :meth:`recommender.policies.protocol.Policy.slates`.
        """
        for one in asked:
            check_shapes(one.profile, catalogue, statistics)
        looks = self._looks([one.profile for one in asked], catalogue)
        others = [one for one, look in zip(asked, looks, strict=True) if look is None]
        fallen_back = iter(self._fall_back(others, catalogue, statistics))
        return [
            next(fallen_back) if look is None else self._slate(one, look, catalogue)
            for one, look in zip(asked, looks, strict=True)
        ]

    def slate(
        self,
        request: SlateRequest,
        profile: Profile,
        catalogue: Catalogue,
        statistics: StatisticsView,
        draws: Draws,
    ) -> Slate:
        """Return the slate of one request."""
        return self.slates([Asked(request, profile, draws)], catalogue, statistics)[0]

    def _fall_back(self, asked: Sequence[Asked], catalogue: Catalogue, statistics: StatisticsView) -> list[Slate]:
        name = self.fallback.name
        return [
            replace(slate, parts=[{**parts, "fallback": name} for parts in slate.parts], fallback=name)
            for slate in (self.fallback.slates(asked, catalogue, statistics) if asked else ())
        ]

    def _looks(self, profiles: Sequence[Profile], catalogue: Catalogue) -> list["Look | None"]:
        """Return where the actor looks for each user, None where the ratings do not make a state."""
        aligned = aligned_of(self.name, catalogue)
        looks: list[Look | None] = [None] * len(profiles)
        frames = [frame_of(profile, catalogue, aligned) for profile in profiles]
        places = [place for place, frame in enumerate(frames) if frame is not None]
        if not places:
            return looks
        states = np.stack([_state_of(aligned, frame) for frame in frames if frame is not None])
        for place, state, action in zip(places, states, aligned.model.actor_network.run(states), strict=True):
            looks[place] = self._look(aligned, state, action)
        return looks

    def _look(self, aligned: AlignedActor, state: Floats, action: Floats) -> "Look":
        asked = self.settings
        distance = aligned.model.distance if asked.actor_distance == "model" else asked.actor_distance
        rerank = aligned.model.rerank if asked.actor_rerank is None else asked.actor_rerank
        margin = aligned.model.margin if distance == aligned.model.distance else None
        return Look(aligned, state, action, distance, rerank if aligned.model.critics else 0, margin)

    def _slate(self, asked: Asked, look: "Look", catalogue: Catalogue) -> Slate:
        request = asked.request
        nearest = max(look.rerank, request.k)
        model = model_of(catalogue, self.name)
        found = shortlist_nearest(request, catalogue, model, look.action, look.distance, nearest)
        rows = np.asarray(request.rows) if found is None else found
        best = look.best(rows, request.k)
        shown, choices = rows[best], choose_best(best)
        exploration = Exploration("coin", self.settings.actor_epsilon)
        epsilon = exploration.epsilon_at(asked.profile.t, request.epsilon)
        if epsilon:
            places = best if found is None else positions_of(shown, request.rows)
            choices = choose_epsilon_greedily(len(request.rows), places, epsilon, asked.draws)
            shown = request.rows[choices.positions]
        return build_slate(shown, look.score(shown), choices, epsilon)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Where the actor looks for one user.

    Attributes:
        aligned: the model on the catalogue's rows.
        state: s, shape [F (D + 1)].
        action: a, the proto-action, shape [D].
        distance: what the nearest items are by.
        rerank: how many of them the critics rank again; 0 for none.
        margin: how much farther than the nearest one these may lie, unless a slate needs them; None for any.
    """

    aligned: AlignedActor
    state: Floats
    action: Floats
    distance: str
    rerank: int
    margin: float | None

    def best(self, rows: Integers, k: int) -> Integers:
        """Return the positions of the k best of ``rows``, best first: the nearest, or of these what critics say."""
        nearness = -self.distances(rows)
        if not self.rerank:
            return top_k(nearness, None, k)
        near = top_k(nearness, None, max(self.rerank, k))
        if self.margin is not None:
            within = np.count_nonzero(nearness[near] >= nearness.max(initial=-FARTHEST) - self.margin)
            near = near[: max(int(within), k)]
        near = np.sort(near)
        return near[top_k(self.values(rows[near]), None, k)]

    def score(self, rows: Integers) -> Scores:
        """Return the scores of ``rows``, shape [M]: negated distances, or what critics say. No item has novelty."""
        distance = self.distances(rows)
        score = self.values(rows) if self.rerank else -distance
        return Scores(score, score, np.ones(len(rows)), np.zeros(len(rows)), distance=distance)

    def distances(self, rows: Integers) -> Floats:
        """Return the distance of ``rows`` to the action, shape [M]; the farthest where there is no vector."""
        found = distances_to(self.distance, self.action, self.aligned.vectors[rows])
        found[~self.aligned.has_vector[rows]] = FARTHEST
        return found

    def values(self, rows: Integers) -> Floats:
        """Return min over critics of Q(s, x) of ``rows``, shape [M]; the least where there is no vector."""
        vectors, critics = self.aligned.vectors[rows], self.aligned.model.critic_networks
        values = np.min([critic.run_after(self.state, vectors)[:, 0] for critic in critics], axis=0)
        values[~self.aligned.has_vector[rows]] = -FARTHEST
        return np.asarray(np.clip(np.nan_to_num(values, nan=-FARTHEST), -FARTHEST, FARTHEST))


def _state_of(aligned: AlignedActor, frame: Frame) -> Floats:
    return pad_states(aligned.vectors[frame.rows], frame.ratings, aligned.model.scale, aligned.model.frame_size)


def aligned_of(name: str, catalogue: Catalogue) -> AlignedActor:
    """Return a policy's model on the catalogue's rows.

    Raises:
        ModelUnavailable: the catalogue has none.
    """
    value = model_of(catalogue, name).value
    assert isinstance(value, AlignedActor)
    return value
