"""An actor as a ranker of many moments at once, by products of matrices.

The policies of the scorer give the same scores, to within rounding, one user at a time and the same bits every time.
"""

from dataclasses import dataclass

import numpy as np

from recommender.arrays import Flags, Floats, Integers
from recommender.embeddings.layers import Layer
from recommender.ranking.log import Moments, Past
from recommender.ranking.next_item import Ranker
from recommender.rl.model import SLATE, AlignedActor
from recommender.rl.recurrent import GATES, events_of
from recommender.rl.state import pad_states
from schemas.codec import RATING_QUANTUM


@dataclass(frozen=True, slots=True, eq=False)
class ActorRanker:
    """Ranks by inner product with the actor's proto-action; critics, where there are any, rank the nearest again.

    Attributes:
        actor: the model on the rows of the log.
        fallback: asked about users with fewer events than a state needs.
        rerank: how many of the nearest unseen items the critics rank again; 0 for none.
    """

    actor: AlignedActor
    fallback: Ranker
    rerank: int

    def scores(self, moments: Moments) -> Floats:
        """Return the scores; see :class:`recommender.ranking.next_item.Ranker`."""
        frame_size = self.actor.model.frame_size
        frames = [_newest(past, frame_size, self.actor.has_vector) for past in moments.pasts]
        is_long = np.array([len(rows) >= self.actor.model.least_events for rows, _ in frames], dtype=np.bool_)
        scores = np.empty((len(frames), len(self.actor.vectors)))
        if not is_long.all():
            short = np.flatnonzero(~is_long)
            pasts = [moments.pasts[place] for place in short.tolist()]
            scores[short] = self.fallback.scores(Moments(pasts, moments.counts[short], moments.sums[short]))
        if is_long.any():
            known = np.flatnonzero(is_long)
            states = np.stack([self._state_of(*frames[place]) for place in known.tolist()])
            scores[known] = self._rank(states, [moments.pasts[place].rows for place in known.tolist()])
        return scores

    def _state_of(self, rows: Integers, ratings: Floats) -> Floats:
        model = self.actor.model
        return pad_states(self.actor.vectors[rows], ratings, model.scale, model.frame_size)

    def _rank(self, states: Floats, seen: list[Integers]) -> Floats:
        model, vectors = self.actor.model, self.actor.vectors
        given = states if model.encoder is None else _read(model.encoder, states, model.frame_size)
        scores = _run(model.actor, given) @ vectors.T
        lowest = scores.min() - 1.0
        scores[:, ~self.actor.has_vector] = lowest
        if not self.rerank or not model.critics:
            return scores
        for own, state, past in zip(scores, states, seen, strict=True):
            unseen = own.copy()
            unseen[past] = lowest
            nearest = np.argpartition(-unseen, min(self.rerank, len(own)) - 1)[: self.rerank]
            if model.margin is not None:
                nearest = _within(nearest, unseen, model.margin)
            values = np.min([_values(critic, state, vectors[nearest]) for critic in model.critics], axis=0)
            own[nearest] = own.max() + 1.0 + values - values.min()
        return scores


def _within(nearest: Integers, scores: Floats, margin: float) -> Integers:
    """Return those of the nearest that lie within the margin of the first, and never fewer than a slate needs."""
    ordered = nearest[np.argsort(-scores[nearest], kind="stable")]
    count = np.count_nonzero(scores[ordered] >= scores[ordered[0]] - margin)
    return ordered[: max(int(count), SLATE)]


def _newest(past: Past, frame_size: int, has_vector: Flags) -> tuple[Integers, Floats]:
    """Return the newest items that the model knows, oldest first, and the mean of the user's ratings of each."""
    known = np.flatnonzero(has_vector[past.rows])[-frame_size:]
    return past.rows[known], past.sums[known] / past.counts[known] / RATING_QUANTUM


def _run(layers: tuple[Layer, ...], x: Floats) -> Floats:
    for layer in layers[:-1]:
        x = np.maximum(x @ layer.weight.T + layer.bias, 0.0)
    return np.asarray(x @ layers[-1].weight.T + layers[-1].bias)


def _read(encoder: tuple[Layer, Layer], states: Floats, frame_size: int) -> Floats:
    """Return an LSTM's last hidden units, shape [B, H]."""
    of_events, of_hidden = encoder
    hidden = cell = np.zeros((len(states), of_hidden.weight.shape[1]))
    for event in events_of(states, frame_size):
        given = event @ of_events.weight.T + of_events.bias + hidden @ of_hidden.weight.T + of_hidden.bias
        take, keep, new, show = np.split(given, GATES, axis=1)
        cell = _sigmoid(keep) * cell + _sigmoid(take) * np.tanh(new)
        hidden = _sigmoid(show) * np.tanh(cell)
    return hidden


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _values(critic: tuple[Layer, ...], state: Floats, items: Floats) -> Floats:
    """Return Q(s, x_i), shape [C]; the state's part of the first layer is computed once."""
    first = critic[0]
    of_state, of_items = first.weight[:, : len(state)], first.weight[:, len(state) :]
    hidden = np.maximum(items @ of_items.T + (of_state @ state + first.bias), 0.0)
    return _run(critic[1:], hidden)[:, 0]
