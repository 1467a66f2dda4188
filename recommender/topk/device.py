"""The same exact top k on a GPU, or on whatever torch computes with.

A float32 product is the filter here: its error is bounded by (D + 16) 2^-24 times the norms, whatever the order of
additions, as docs/ranking.md shows. What lies within the bound is rescored in float64, in the reference's order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from recommender.arrays import Flags, Floats, Integers, read_only
from recommender.topk.queries import LARGEST, MAX_DIM, Queries, Ranking, make_queries, rank_plainly

_TINY = 2.0**-100
_ROUNDING = 2.0**-22


class DeviceColumn(NamedTuple):
    """What is added to each item's product: float64 [N], the same rounded to float32 [N], -inf where not allowed."""

    values: Floats
    exact: torch.Tensor
    filter: torch.Tensor
    allowed: Flags
    largest: float


class _Pairs(NamedTuple):
    """Queries and rows that may be among the best with their scores, in order of query, score and row, each [P]."""

    queries: torch.Tensor
    rows: torch.Tensor
    scores: torch.Tensor


class DeviceIndex:
    """Item vectors on a device; see :class:`recommender.topk.index.ItemIndex`, which answers alike.

    Args:
        vectors: shape [N, D], float64.
        device: where torch keeps and multiplies them.
        scores_at_once: how many float32 scores there is room for beside the vectors.

    Raises:
        ValueError: if D is above 1024.
    """

    def __init__(self, vectors: Floats, device: str = "cuda", scores_at_once: int = 2**28) -> None:
        if vectors.shape[1] > MAX_DIM:
            raise ValueError(f"D must be at most {MAX_DIM}, got {vectors.shape[1]}")
        self.vectors = vectors
        self._device = torch.device(device)
        self._scores_at_once = scores_at_once
        self._exact = torch.tensor(vectors, dtype=torch.float64, device=self._device)
        self._single = self._exact.to(torch.float32)
        self._largest_norm = float(np.sqrt((vectors * vectors).sum(axis=1)).max(initial=0.0)) * (1.0 + _ROUNDING)

    @property
    def size(self) -> int:
        """Number of items, N."""
        return len(self.vectors)

    def column(self, values: Floats, allowed: Flags | None = None) -> DeviceColumn:
        """Return what is added to every product, on the device.

        Args:
            values: shape [N], finite.
            allowed: items that may be found, shape [N]; None for all.
        """
        flags = np.ones(self.size, dtype=np.bool_) if allowed is None else allowed
        exact = torch.tensor(values, dtype=torch.float64, device=self._device)
        rounded = exact.to(torch.float32)
        rounded[torch.tensor(~flags, device=self._device)] = -torch.inf
        return DeviceColumn(read_only(values), exact, rounded, flags, float(np.abs(values).max(initial=0.0)))

    def top_k(
        self, thetas: Floats, column: DeviceColumn, k: int, excluded: Sequence[Integers] | None = None
    ) -> Ranking:
        """Return the k highest of column + theta . x for each theta, ties by row: scores and rows as the reference.

        Args:
            thetas: shape [B, D].
            column: of :meth:`column`.
            k: how many, at least 1.
            excluded: for each theta the rows not wanted; None for none.

        Raises:
            ValueError: if ``k`` is below 1, a shape does not fit, or torch multiplies in less than float32.
        """
        if torch.get_float32_matmul_precision() != "highest":
            raise ValueError(f"float32_matmul_precision must be highest, got {torch.get_float32_matmul_precision()}")
        queries = make_queries(thetas, self.vectors.shape[1], k, excluded)
        ranking = Ranking(len(thetas), k)
        ranking.counts[:] = -1
        with np.errstate(over="ignore", invalid="ignore"):
            largest = np.abs(queries.thetas).sum(axis=1) * max(self._largest_norm, 1.0)
            held = np.flatnonzero((largest < LARGEST) & (max(column.largest, self._largest_norm) < LARGEST))
        for chosen in np.array_split(held, max(1, -(-len(held) * 64 // self._scores_at_once))):
            if len(chosen):
                self._rank(chosen, queries, column, ranking)
        rank_plainly(self.vectors, column.values, column.allowed, queries, ranking)
        return ranking

    def _rank(self, chosen: Integers, queries: Queries, column: DeviceColumn, ranking: Ranking) -> None:
        """Rank the chosen queries, a block of items at a time."""
        thetas = torch.tensor(queries.thetas[chosen], device=self._device)
        bound = self._bound(thetas, column)
        best = torch.full((len(chosen), queries.k), -torch.inf, device=self._device)
        threshold = torch.full((len(chosen),), -torch.inf, dtype=torch.float64, device=self._device)
        nothing = torch.zeros(0, dtype=torch.int64, device=self._device)
        found = _Pairs(nothing, nothing, torch.zeros(0, dtype=torch.float64, device=self._device))
        step = max(1, self._scores_at_once // len(chosen))
        for first in range(0, self.size, step):
            last = min(first + step, self.size)
            scores = torch.addmm(column.filter[first:last], thetas.to(torch.float32), self._single[first:last].T)
            _leave_out(scores, chosen, queries, first)
            best = torch.topk(torch.cat((best, scores), dim=1), queries.k).values
            threshold = torch.maximum(threshold, best[:, -1].to(torch.float64) - bound)
            least = threshold - bound
            least = (least - _ROUNDING * least.abs()).nan_to_num(nan=-torch.inf).to(torch.float32)
            near = (scores >= least[:, None]) & (scores > -torch.inf)
            found = self._keep_best(thetas, column, queries.k, found, near.nonzero(), first)
        self._write(found, chosen, ranking)

    def _bound(self, thetas: torch.Tensor, column: DeviceColumn) -> torch.Tensor:
        """Return how far the float32 score of any item can be from its reference score, [B]."""
        norms = thetas.square().sum(dim=1).sqrt()
        relative = (self.vectors.shape[1] + 16) * 2.0**-24
        absolute = _TINY * (1.0 + norms) * (1.0 + self._largest_norm)
        bound: torch.Tensor = relative * (norms * self._largest_norm + column.largest) + absolute
        return bound

    def _keep_best(
        self,
        thetas: torch.Tensor,
        column: DeviceColumn,
        k: int,
        found: _Pairs,
        near: torch.Tensor,
        first: int,
    ) -> _Pairs:
        """Rescore what is near, and return the k best of it and of what was found before, of equal ones the first."""
        queries, rows = near[:, 0], near[:, 1] + first
        total = torch.zeros(len(rows), dtype=torch.float64, device=self._device)
        for dim in range(thetas.shape[1]):
            total += self._exact[rows, dim] * thetas[queries, dim]
        scores = torch.cat((found.scores, column.exact[rows] + total))
        queries, rows = torch.cat((found.queries, queries)), torch.cat((found.rows, rows))
        order = torch.argsort(scores, descending=True, stable=True)
        order = order[torch.argsort(queries[order], stable=True)]
        places = _places(queries[order])
        order = order[places < k]
        return _Pairs(queries[order], rows[order], scores[order])

    def _write(self, found: _Pairs, chosen: Integers, ranking: Ranking) -> None:
        queries = found.queries.cpu().numpy()
        places, at = _places(found.queries).cpu().numpy(), chosen[queries]
        ranking.counts[chosen] = np.bincount(queries, minlength=len(chosen))
        ranking.rows[at, places], ranking.scores[at, places] = found.rows.cpu().numpy(), found.scores.cpu().numpy()


def _places(queries: torch.Tensor) -> torch.Tensor:
    """Return the place of each pair among those of its query, for ascending queries."""
    at = torch.arange(len(queries), device=queries.device)
    return at - torch.searchsorted(queries, queries)


def _leave_out(scores: torch.Tensor, chosen: Integers, queries: Queries, first: int) -> None:
    """Set the scores of excluded rows to -inf; ``first`` is the row of the first column."""
    counts = np.diff(queries.ends)[chosen]
    if not counts.any():
        return
    owners = np.repeat(np.arange(len(chosen)), counts)
    rows = np.concatenate([queries.excluded[queries.ends[each] : queries.ends[each + 1]] for each in chosen]) - first
    here = (rows >= 0) & (rows < scores.shape[1])
    device = scores.device
    scores[torch.tensor(owners[here], device=device), torch.tensor(rows[here], device=device)] = -torch.inf
