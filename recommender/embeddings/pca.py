"""Principal components: the linear code, to compare the autoencoder with and to train where there is no torch."""

import numpy as np
from numpy.typing import NDArray

from recommender.embeddings.layers import Layer
from recommender.embeddings.training import Loss, OnStep, PcaSettings, TrainedEncoder, baseline_loss, split_rows


def train_pca(
    features: NDArray[np.float32], settings: PcaSettings | None = None, on_step: OnStep | None = None
) -> TrainedEncoder:
    """Return the first D principal components of the training items' features.

    z = V (x - mean), x' = mean + V^T z, with V the first D right singular vectors of the centred training rows. Of
    each, the entry largest in magnitude (the first such) is positive. Components beyond the rank are zero.

    Args:
        features: shape [N, F].
        settings: defaults when not given.
        on_step: called once for each number of components, 1..D, with the losses at that number.

    Raises:
        ValueError: fewer than two items.

    Source: Pearson, On lines and planes of closest fit to systems of points in space, 1901.
    """
    settings = settings or PcaSettings()
    train_rows, validation_rows = split_rows(len(features), settings.validation, settings.seed)
    train, validation = features[train_rows].astype(np.float64), features[validation_rows].astype(np.float64)
    mean = train.mean(axis=0)
    components = _components(train - mean, settings.dim)
    losses = _losses(train - mean, validation - mean, components)
    if on_step is not None:
        for loss in losses:
            on_step(loss)
    encoder = Layer(components.astype(np.float32), (-components @ mean).astype(np.float32))
    decoder = Layer(components.T.astype(np.float32), mean.astype(np.float32))
    baseline = baseline_loss(features[train_rows], features[validation_rows])
    return TrainedEncoder("pca", (encoder,), (decoder,), losses, baseline)


def _components(centred: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    tolerance = singular[0] * max(centred.shape) * np.finfo(np.float64).eps
    kept = rows[: min(dim, int(np.count_nonzero(singular > tolerance)))]
    components = np.zeros((dim, centred.shape[1]))
    for row, component in enumerate(kept):
        sign = 1.0 if component[np.argmax(np.abs(component))] > 0 else -1.0
        components[row] = sign * component
    return components


def _losses(
    train: NDArray[np.float64], validation: NDArray[np.float64], components: NDArray[np.float64]
) -> tuple[Loss, ...]:
    """Return the losses at 1..D components; each component takes its own part of the squared length away."""

    def errors(centred: NDArray[np.float64]) -> NDArray[np.float64]:
        explained = np.cumsum(np.sum((centred @ components.T) ** 2, axis=0))
        return np.maximum(np.sum(centred**2) - explained, 0.0) / centred.size

    pairs = zip(errors(train).tolist(), errors(validation).tolist(), strict=True)
    return tuple(Loss(step, *pair) for step, pair in enumerate(pairs, start=1))
