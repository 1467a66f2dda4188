"""The losses of a training run as a picture."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from recommender.embeddings.training import TrainedEncoder
from recommender.factors.training import Round
from recommender.sequence.training import TrainedSequence

_STEP_NAMES = {"autoencoder": "epoch", "pca": "number of components"}
_TRAIN_COLOUR, _VALIDATION_COLOUR, _BASELINE_COLOUR = "#1f77b4", "#d95f02", "#777777"


def plot_losses(trained: TrainedEncoder, path: Path, *, title: str) -> None:
    """Write a PNG of both losses by step, their last values, and the loss of answering column means.

    Args:
        trained: what to draw.
        path: the file; directories are made.
        title: what the run was of.
    """
    axes = _make_axes()
    train = [loss.train for loss in trained.losses]
    validation = [loss.validation for loss in trained.losses]
    steps = [loss.step for loss in trained.losses]
    label = f"column means, validation: {trained.baseline:.5f}"
    axes.axhline(trained.baseline, color=_BASELINE_COLOUR, linestyle="--", linewidth=1.2, label=label)
    _draw(axes, steps, validation, _VALIDATION_COLOUR, f"validation: {validation[-1]:.5f} at the end")
    _draw(axes, steps, train, _TRAIN_COLOUR, f"training: {train[-1]:.5f} at the end")
    if min(*train, *validation, trained.baseline) > 0.0:
        _scale_by_ratio(axes)
    axes.set_xlim(steps[0] - 0.5, steps[-1] + 0.5)
    axes.legend(framealpha=1.0, edgecolor="none")
    _save(axes, path, title, _STEP_NAMES[trained.kind], "mean squared error of reconstruction")


def plot_sequence(trained: TrainedSequence, path: Path, *, title: str) -> None:
    """Write a PNG of the losses by epoch, and the loss of popularity alone.

    Args:
        trained: what to draw.
        path: the file; directories are made.
        title: what the run was of.
    """
    axes = _make_axes()
    epochs = [loss.epoch for loss in trained.losses]
    validation = [loss.validation for loss in trained.losses]
    train = [loss.train for loss in trained.losses]
    if isfinite(trained.baseline):
        label = f"popularity alone, validation: {trained.baseline:.3f}"
        axes.axhline(trained.baseline, color=_BASELINE_COLOUR, linestyle="--", linewidth=1.2, label=label)
        best = trained.epochs
        _draw(axes, epochs, validation, _VALIDATION_COLOUR, f"validation: {validation[best - 1]:.3f} at epoch {best}")
        axes.axvline(best, color=_VALIDATION_COLOUR, linestyle=":", linewidth=1.2)
    _draw(axes, epochs, train, _TRAIN_COLOUR, f"training, with dropout: {train[-1]:.3f} at the end")
    axes.legend(framealpha=1.0, edgecolor="none")
    _save(axes, path, title, "epoch", "-log P(next item), nats")


def plot_rounds(rounds: Sequence[Round], path: Path, *, title: str) -> None:
    """Write a PNG of what each round of each part of a factor model leaves unexplained.

    Args:
        rounds: what to draw.
        path: the file; directories are made.
        title: what the run was of.
    """
    axes = _make_axes()
    for part in sorted({each.part for each in rounds}):
        own = [each for each in rounds if each.part == part]
        label = f"part {part}: {own[-1].noise:.4f} at the end"
        axes.plot([each.number for each in own], [each.noise for each in own], label=label, linewidth=1.4)
    axes.legend(framealpha=1.0, edgecolor="none", fontsize=8, ncols=2)
    _save(axes, path, title, "round", "variance not explained")


def _make_axes() -> Axes:
    figure = Figure(figsize=(8.0, 4.5), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _save(axes: Axes, path: Path, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, which="major", axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(path, format="png")


def _draw(axes: Axes, steps: list[int], losses: list[float], colour: str, label: str) -> None:
    axes.plot(steps, losses, color=colour, label=label, linewidth=1.8, marker="o", markersize=3.0, clip_on=False)


def _scale_by_ratio(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
