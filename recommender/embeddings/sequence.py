"""Trains the model of the policy ``sequence`` in torch: a full softmax over the items, all events of a user at once.

The formula is that of :mod:`recommender.policies.sequence`. A user's states before all of their events are products of
one matrix a mean, M_k[t, s] = exp(-rate_k (t - 1 - s)) for s < t, with the user's item vectors.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from recommender.arrays import Flags, Floats, Integers
from recommender.ranking.log import RatingLog
from recommender.sequence.model import PRIOR_COUNT, SHRINKAGE, STAGES, SequenceModel, stage_of
from recommender.sequence.training import OnEpoch, SequenceLoss, SequenceSettings, TrainedSequence
from schemas.errors import ModelError

MIN_EVENTS = 2
_SNAPSHOT_EVENTS = 250
_HIDDEN = -1e30
_FORGOTTEN = 40.0
"""exp(-40) is nothing beside 1, and far from the numbers so small that processors are slow with them."""
_WARM_UP = 0.1
_SPREAD = 0.1


def train_sequence(
    log: RatingLog, item_ids: Sequence[str], settings: SequenceSettings | None = None, on_epoch: OnEpoch | None = None
) -> TrainedSequence:
    """Return a model of which item comes next, given what the user rated before.

    P(i | user) = softmax over the unseen items of theta . x_i + b_i + a log q_i, minimised by AdamW as the mean of
    -log P(the item that came) over all events. What is kept is an exponential average of the weights over steps.

    Args:
        log: the events, in time order.
        item_ids: of the log's rows, N of them.
        settings: defaults when not given.
        on_epoch: called after every epoch of the run that tells when to stop, or of the only one.

    Raises:
        ValueError: fewer than two events.
        ModelError: the loss is no longer finite.

    Source: the softmax over a state of decayed means is that of sequential recommenders such as GRU4Rec (Hidasi et
    al., arXiv:1511.06939) with the recurrence made linear.
    """
    settings = settings or SequenceSettings()
    if len(log) < MIN_EVENTS:
        raise ValueError(f"training needs at least {MIN_EVENTS} events, got {len(log)}")
    with _threads(settings.threads):
        if not settings.validation:
            net, losses = _fit(log, len(log), settings.epochs, settings, on_epoch)
            return TrainedSequence(_export(net, log, item_ids, settings), losses, settings.epochs, math.nan)
        cut = min(max(round((1.0 - settings.validation) * len(log)), 1), len(log) - 1)
        _, losses = _fit(log, cut, settings.epochs, settings, on_epoch)
        best = min(losses, key=lambda loss: loss.validation).epoch
        net, _ = _fit(log, len(log), best, settings, None)
        baseline = _popularity_loss(log, cut, settings)
    return TrainedSequence(_export(net, log, item_ids, settings), losses, best, baseline)


class _Part(nn.Module):
    """The weights of one part: K tables of inputs, one of outputs, one of stages, biases, the weight of popularity."""

    def __init__(self, size: int, dim: int, means: int) -> None:
        super().__init__()
        self.inputs = nn.Parameter(torch.randn(means, size + 1, dim) * _SPREAD)
        self.stages = nn.Parameter(torch.zeros(STAGES, dim))
        self.outputs = nn.Parameter(torch.randn(size, dim) * _SPREAD)
        self.bias = nn.Parameter(torch.zeros(size))
        self.weight = nn.Parameter(torch.tensor(1.0))

    def theta(self, rates: Tensor, rows: Tensor, kept: Tensor) -> Tensor:
        """Return the users' vectors before each of their events, shape [B, L, D]; ``kept`` [B, L] says what counts."""
        steps = torch.arange(rows.shape[1])
        ages = steps[:, None] - 1 - steps[None, :]
        theta = self.stages[[stage_of(t) for t in range(rows.shape[1])]]
        for rate, table in zip(rates, self.inputs, strict=True):
            exponents = rate * ages
            counted = (exponents >= 0) & (exponents < _FORGOTTEN)
            decayed = torch.where(counted, torch.exp(-exponents.clamp(0, _FORGOTTEN)), 0.0)
            sums = decayed @ (table[rows] * kept[:, :, None])
            theta = theta + sums / torch.sqrt(SHRINKAGE + decayed @ kept[:, :, None])
        return theta

    def logits(self, theta: Tensor, log_shares: Tensor) -> Tensor:
        """Return what the softmax is of, shape [n, N]."""
        return theta @ self.outputs.T + self.bias + self.weight * log_shares


class _Net(nn.Module):
    """Parts that learn apart from one another, with the same decay rates; what is asked is their mean."""

    def __init__(self, size: int, settings: SequenceSettings) -> None:
        super().__init__()
        dim, means = settings.dim // settings.parts, len(settings.half_lives)
        self._parts = nn.ModuleList([_Part(size, dim, means) for _ in range(settings.parts)])
        rates = [math.log(math.log(2.0) / half_life) for half_life in settings.half_lives]
        self.log_rates = nn.Parameter(torch.tensor(rates))

    @property
    def parts(self) -> list[_Part]:
        """The parts."""
        return cast("list[_Part]", list(self._parts))

    @property
    def rates(self) -> Tensor:
        """The decay rates, shape [K]."""
        return torch.exp(self.log_rates)

    def logits(self, rows: Tensor, chosen: Tensor, log_shares: Tensor) -> Tensor:
        """Return the mean of the parts' logits at the chosen of [B, L] moments, shape [n, N]."""
        rates, everything = self.rates, torch.ones(rows.shape)
        each = [part.logits(part.theta(rates, rows, everything)[chosen], log_shares) for part in self.parts]
        return torch.stack(each).mean(dim=0)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Users side by side, padded: rows [B, L] (N where padded), events [B, L] (-1), first [B, N] as of each item."""

    rows: Tensor
    events: Tensor
    first: Tensor


def _fit(
    log: RatingLog, cut: int, epochs: int, settings: SequenceSettings, on_epoch: OnEpoch | None
) -> tuple[_Net, tuple[SequenceLoss, ...]]:
    """Return the averaged weights of ``epochs`` over the first ``cut`` events; stopped when validation says so."""
    generator = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    net = _Net(log.size, settings)
    average = copy.deepcopy(net).eval()
    past = log.before(cut)
    users, shares = _sequences(past), _log_shares(past, settings.popularity_half_life)
    known = torch.from_numpy(_known(past))
    held_out = _held_out(log, cut, shares) if cut < len(log) else []
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    warm_up = max(1, round(_WARM_UP * settings.epochs * cut / settings.batch))
    losses: list[SequenceLoss] = []
    step = 0
    for epoch in range(1, epochs + 1):
        total = 0.0
        for batch in _batches(users, settings.batch, log.size, generator):
            step += 1
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * min(1.0, step / warm_up)
            total += _take_step(net, optimiser, batch, shares, known, settings)
            _average(average, net, min(settings.averaging, step / (step + 10.0)))
        validation = _measure(average, held_out, known) if held_out else math.nan
        losses.append(SequenceLoss(epoch, total / cut, validation))
        if not math.isfinite(losses[-1].train):
            raise ModelError(f"training diverged: after epoch {epoch} the loss is {losses[-1].train}")
        if on_epoch is not None:
            on_epoch(losses[-1])
        best = min(losses, key=lambda loss: loss.validation).epoch if held_out else epoch
        if epoch - best >= settings.patience:
            break
    return average, tuple(losses)


def _take_step(
    net: _Net,
    optimiser: torch.optim.Optimizer,
    batch: _Batch,
    shares: Tensor,
    known: Tensor,
    settings: SequenceSettings,
) -> float:
    """Move the weights by one batch, and return the sum of its losses."""
    is_event = batch.events >= 0
    steps = torch.arange(batch.rows.shape[1])
    hidden = (batch.first[:, None, :] < steps[None, :, None])[is_event] | ~known
    own_shares, targets, rates = shares[batch.events[is_event] // _SNAPSHOT_EVENTS], batch.rows[is_event], net.rates
    loss = torch.zeros(())
    for part in net.parts:
        kept = is_event * (torch.rand(batch.rows.shape) >= settings.input_dropout)
        theta = nn.functional.dropout(part.theta(rates, batch.rows, kept.float())[is_event], settings.theta_dropout)
        logits = part.logits(theta, own_shares).masked_fill(hidden, _HIDDEN)
        loss = loss + nn.functional.cross_entropy(logits, targets)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item() / len(net.parts) * int(is_event.sum())


def _measure(net: _Net, held_out: Sequence[tuple[_Batch, Tensor]], known: Tensor) -> float:
    """Return the mean loss of events held out, of items the model knows."""
    total, events = 0.0, 0
    with torch.no_grad():
        for batch, shares in held_out:
            chosen = len(shares)
            steps = torch.arange(batch.rows.shape[1])
            seen = batch.first[0][None, :] < steps[-chosen:, None]
            is_chosen = (steps >= len(steps) - chosen)[None, :]
            logits = net.logits(batch.rows, is_chosen, shares).masked_fill(seen | ~known, _HIDDEN)
            targets = batch.rows[0, -chosen:]
            counted = known[targets]
            total += float(nn.functional.cross_entropy(logits[counted], targets[counted], reduction="sum"))
            events += int(counted.sum())
    return total / max(events, 1)


def _average(average: _Net, net: _Net, kept: float) -> None:
    with torch.no_grad():
        for mean, weight in zip(average.parameters(), net.parameters(), strict=True):
            mean.lerp_(weight, 1.0 - kept)


def _sequences(log: RatingLog) -> list[tuple[Integers, Integers]]:
    """Return rows and events of every user who has any, in time order; of a repeated item the first event only."""
    first = np.unique(log.users * log.size + log.rows, return_index=True)[1]
    events = np.sort(first)
    order = events[np.argsort(log.users[events], kind="stable")]
    starts = np.flatnonzero(np.diff(log.users[order], prepend=-1))
    return [(log.rows[own], own) for own in np.split(order, starts[1:])]


def _batches(
    users: Sequence[tuple[Integers, Integers]], events: int, size: int, generator: np.random.Generator
) -> Iterator[_Batch]:
    """Yield all users, those of like length together, in random order."""
    lengths = np.array([len(rows) for rows, _ in users]) * generator.uniform(0.8, 1.25, len(users))
    parts: list[list[tuple[Integers, Integers]]] = [[]]
    longest = 0
    for place in np.argsort(lengths).tolist():
        longest = max(longest, len(users[place][0]))
        parts[-1].append(users[place])
        if longest * len(parts[-1]) >= events:
            parts.append([])
            longest = 0
    full = [part for part in parts if part]
    for place in generator.permutation(len(full)).tolist():
        yield _pad(full[place], size)


def _pad(users: Sequence[tuple[Integers, Integers]], size: int) -> _Batch:
    longest = max(len(rows) for rows, _ in users)
    rows = np.full((len(users), longest), size)
    events = np.full((len(users), longest), -1)
    first = np.full((len(users), size), longest)
    for place, (own, when) in enumerate(users):
        rows[place, : len(own)], events[place, : len(own)] = own, when
        first[place, own] = np.arange(len(own))
    return _Batch(torch.from_numpy(rows), torch.from_numpy(events), torch.from_numpy(first))


def _held_out(log: RatingLog, cut: int, shares: Tensor) -> list[tuple[_Batch, Tensor]]:
    """Return every user's events from ``cut`` on, with what came before them, and the shares at the cut."""
    return [
        (_pad([(rows, events)], log.size), shares[-1].expand(int((events >= cut).sum()), -1))
        for rows, events in _sequences(log)
        if events[-1] >= cut
    ]


def decayed_counts(log: RatingLog, half_life: float) -> Floats:
    """Return each item's ratings, each counting 2^(-age / half_life), age in ratings of all users, shape [N]."""
    ages = len(log) - 1 - np.arange(len(log))
    return np.bincount(log.rows, weights=2.0 ** (-ages / half_life), minlength=log.size).astype(np.float64)


def _log_shares(log: RatingLog, half_life: float) -> Tensor:
    """Return log q before each 250th event and after the last, shape [snapshots, N]."""
    ends = [*range(0, len(log), _SNAPSHOT_EVENTS), len(log)]
    counts = np.array([decayed_counts(log.before(end), half_life) for end in ends]) + PRIOR_COUNT
    return torch.from_numpy(np.log(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32))


def _popularity_loss(log: RatingLog, cut: int, settings: SequenceSettings) -> float:
    past = log.before(cut)
    net = _Net(log.size, settings)
    with torch.no_grad():
        for part in net.parts:
            part.outputs.zero_()
    shares = _log_shares(past, settings.popularity_half_life)
    return _measure(net, _held_out(log, cut, shares), torch.from_numpy(_known(past)))


def _known(log: RatingLog) -> Flags:
    return np.bincount(log.rows, minlength=log.size) > 0


def _export(net: _Net, log: RatingLog, item_ids: Sequence[str], settings: SequenceSettings) -> SequenceModel:
    """Return the weights of the items that have an event; outputs are centred, so that a new item is an average one."""
    known = np.flatnonzero(_known(log))
    parts = [{name: weight.detach().double().numpy() for name, weight in part.named_parameters()} for part in net.parts]
    outputs = np.concatenate([part["outputs"] for part in parts], axis=1)[known] / len(parts)
    bias = np.mean([part["bias"] for part in parts], axis=0)[known]
    return SequenceModel(
        item_ids=tuple(item_ids[row] for row in known.tolist()),
        inputs=np.concatenate([part["inputs"] for part in parts], axis=2)[:, known],
        stages=np.concatenate([part["stages"] for part in parts], axis=1),
        outputs=outputs - outputs.mean(axis=0),
        bias=bias - bias.mean(),
        rates=net.rates.detach().double().numpy(),
        popularity=decayed_counts(log, settings.popularity_half_life)[known],
        counts=np.bincount(log.rows, minlength=log.size)[known].astype(np.float64),
        popularity_weight=float(np.mean([part["weight"] for part in parts])),
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
