"""The autoencoder of the content bandit: F-48-ReLU-16 | 16-48-ReLU-F-Sigmoid, trained in torch."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear, mse_loss

from recommender.embeddings.layers import Layer
from recommender.embeddings.training import AutoencoderSettings, Loss, OnStep, TrainedEncoder, baseline_loss, split_rows
from schemas.errors import ModelError


def train_autoencoder(
    features: NDArray[np.float32], settings: AutoencoderSettings | None = None, on_step: OnStep | None = None
) -> TrainedEncoder:
    """Return an encoder trained to rebuild the features from a code of D numbers.

    z = W2 relu(W1 x + b1) + b2, x' = sigmoid(W4 relu(W3 z + b3) + b4), minimising mean (x - x')^2 by Adam.

    Both losses of an epoch are taken after it, with the same weights. Every draw comes from one generator seeded with
    ``settings.seed``; on the CPU the same features, settings and torch give the same bits.

    Args:
        features: shape [N, F], each in [0, 1].
        settings: defaults when not given.
        on_step: called after every epoch with its losses.

    Raises:
        ValueError: fewer than two items.
        ModelError: the loss is no longer finite.

    Source: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006.
    """
    settings = settings or AutoencoderSettings()
    train_rows, validation_rows = split_rows(len(features), settings.validation, settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    sizes = (features.shape[1], settings.hidden, settings.dim, settings.hidden, features.shape[1])
    weights = _initial_weights(sizes, generator, settings.device)
    train = torch.from_numpy(features[train_rows]).to(settings.device)
    validation = torch.from_numpy(features[validation_rows]).to(settings.device)
    optimiser = torch.optim.Adam(weights, lr=settings.learning_rate)
    losses: list[Loss] = []
    with _threads(settings.threads):
        for epoch in range(1, settings.epochs + 1):
            order = torch.randperm(len(train), generator=generator).to(settings.device)
            for start in range(0, len(order), settings.batch):
                _take_step(weights, optimiser, train[order[start : start + settings.batch]])
            losses.append(_measure(weights, train, validation, epoch))
            if on_step is not None:
                on_step(losses[-1])
    layers = _to_layers(weights)
    baseline = baseline_loss(features[train_rows], features[validation_rows])
    return TrainedEncoder("autoencoder", layers[:2], layers[2:], tuple(losses), baseline)


def encode(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the codes of rows ``x``, shape [n, D], not normalised."""
    return linear(torch.relu(linear(x, weights[0], weights[1])), weights[2], weights[3])


def reconstruct(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return what the autoencoder makes of rows ``x``, shape [n, F], each in (0, 1)."""
    hidden = torch.relu(linear(encode(weights, x), weights[4], weights[5]))
    return torch.sigmoid(linear(hidden, weights[6], weights[7]))


def _initial_weights(sizes: Sequence[int], generator: torch.Generator, device: str) -> list[Tensor]:
    """Return W1, b1, .. W4, b4, each uniform in ±1/sqrt(inputs), drawn on the CPU whatever the device."""
    weights = []
    for inputs, outputs in pairwise(sizes):
        bound = 1.0 / math.sqrt(inputs)
        for shape in ((outputs, inputs), (outputs,)):
            drawn = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            weights.append(drawn.to(device).requires_grad_())
    return weights


def _take_step(weights: Sequence[Tensor], optimiser: torch.optim.Optimizer, batch: Tensor) -> None:
    optimiser.zero_grad()
    mse_loss(reconstruct(weights, batch), batch).backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _measure(weights: Sequence[Tensor], train: Tensor, validation: Tensor, epoch: int) -> Loss:
    with torch.no_grad():
        loss = Loss(
            epoch,
            float(mse_loss(reconstruct(weights, train), train)),
            float(mse_loss(reconstruct(weights, validation), validation)),
        )
    if not (math.isfinite(loss.train) and math.isfinite(loss.validation)):
        raise ModelError(f"training diverged: after epoch {epoch} the losses are {loss.train} and {loss.validation}")
    return loss


def _to_layers(weights: Sequence[Tensor]) -> tuple[Layer, ...]:
    arrays = [weight.detach().cpu().numpy().copy() for weight in weights]
    return tuple(Layer(weight, bias) for weight, bias in zip(arrays[::2], arrays[1::2], strict=True))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
