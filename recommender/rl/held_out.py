"""How well an actor ranks what held-out users rate next: what tells when to stop."""

import numpy as np
import torch
from torch import Tensor

from recommender.arrays import Integers
from recommender.ranking.log import RatingLog
from recommender.ranking.measures import gains
from recommender.rl.batches import FrameTensors
from recommender.rl.frames import Frames
from recommender.rl.model import SLATE
from recommender.rl.networks import Actor, Critic

MOST_FRAMES = 4000
_AT_ONCE = 500
_SEEN = -1e30


class HeldOut:
    """Frames of held-out users, and what each user had rated before each; of many frames a seeded part."""

    def __init__(self, frames: Frames, log: RatingLog, seed: int) -> None:
        firsts = _first_of_their_pair(log)
        places = np.flatnonzero(firsts[frames.events])
        if len(places) > MOST_FRAMES:
            places = np.sort(np.random.default_rng(seed).choice(places, MOST_FRAMES, replace=False))
        kept = frames.take(places)
        self._frames, self._size = FrameTensors(kept), log.size
        self._seen = list(_seen_before(kept, log))

    def __len__(self) -> int:
        return len(self._frames)

    def ndcg(
        self,
        actor: Actor,
        critics: list[Critic],
        vectors: Tensor,
        known: Tensor,
        rerank: int,
        margin: float | None = None,
    ) -> float:
        """Return NDCG@10 of the items that came, by inner product, the nearest ``rerank`` by the lowest critic.

        Args:
            actor: in evaluation mode.
            critics: empty for none.
            vectors: of the items, shape [N, D].
            known: items that are ranked at all, shape [N].
            rerank: how many of the nearest the critics rank again; 0 for none.
            margin: how far below the nearest item's inner product theirs may lie, unless a slate needs them; None for
                any.
        """
        ranks = []
        for start in range(0, len(self), _AT_ONCE):
            places = torch.arange(start, min(start + _AT_ONCE, len(self)))
            with torch.no_grad():
                state = self._frames.states(places, vectors)
                scores = (actor(state) @ vectors.T).masked_fill(~known, _SEEN)
                for own, seen in zip(scores, self._seen[start : start + _AT_ONCE], strict=True):
                    own[torch.from_numpy(seen)] = _SEEN
                if critics and rerank:
                    scores = _again(scores, state, critics, vectors, rerank, margin)
            rows = self._frames.rows[places, -1:]
            ranks.append((scores > scores.gather(1, rows)).sum(dim=1))
        return float(gains(torch.cat(ranks).numpy())["ndcg@10"].mean()) if ranks else 0.0


def _again(
    scores: Tensor, state: Tensor, critics: list[Critic], vectors: Tensor, rerank: int, margin: float | None
) -> Tensor:
    """Return scores in which the nearest items stand before all others, by what the critics say."""
    best = scores.topk(min(rerank, scores.shape[1]), dim=1)
    nearest, is_ranked = best.indices, best.values > _SEEN
    if margin is not None:
        is_ranked &= (best.values >= best.values[:, :1] - margin) | (torch.arange(nearest.shape[1]) < SLATE)
    values = torch.stack([critic.values(state, vectors[nearest]) for critic in critics]).amin(dim=0)
    above = scores.amax(dim=1, keepdim=True) + 1.0 + values - values.amin(dim=1, keepdim=True)
    return scores.scatter(1, nearest, torch.where(is_ranked, above, best.values))


def _seen_before(frames: Frames, log: RatingLog) -> list[Integers]:
    order = np.argsort(log.users, kind="stable")
    users = log.users[order]
    starts = np.searchsorted(users, frames.users)
    place = np.empty(len(log), dtype=np.int64)
    place[order] = np.arange(len(log))
    return [log.rows[order[start:end]] for start, end in zip(starts, place[frames.events], strict=True)]


def _first_of_their_pair(log: RatingLog) -> np.ndarray:
    firsts = np.zeros(len(log), dtype=np.bool_)
    firsts[np.unique(log.users * log.size + log.rows, return_index=True)[1]] = True
    return firsts
