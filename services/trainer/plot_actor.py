"""A training of an actor as a picture: losses, values, generated actions, and what came of it on held-out users."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recommender.rl.training import ActorStep, TrainedActor

_PANELS = (
    ("losses", "loss/", "mean"),
    ("values", "value/", "Q"),
    ("generated actions", "action/", "1 - cosine"),
)
_SMOOTHED = 20


def plot_trace(trained: TrainedActor, path: Path, *, title: str) -> None:
    """Write a PNG of the trace of a training.

    Args:
        trained: what to draw.
        path: the file; directories are made.
        title: what the run was of.
    """
    figure = Figure(figsize=(11.0, 7.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    for place, (name, prefix, unit) in zip(axes.flat, _PANELS, strict=False):
        _draw_scalars(place, trained.trace, prefix)
        place.set_title(name, loc="left")
        place.set_ylabel(unit)
    _draw_looks(axes.flat[3], trained)
    for place in axes.flat:
        place.set_xlabel("step")
        place.grid(visible=True, alpha=0.3)
        place.spines[["top", "right"]].set_visible(False)
        if place.get_legend_handles_labels()[0]:
            place.legend(framealpha=1.0, edgecolor="none", fontsize=8)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _draw_scalars(axes: Axes, trace: Sequence[ActorStep], prefix: str) -> None:
    tags = sorted({tag for step in trace for tag in step.scalars if tag.startswith(prefix)})
    for tag in tags:
        points = [(step.step, step.scalars[tag]) for step in trace if tag in step.scalars]
        steps, values = (np.array(column) for column in zip(*points, strict=True))
        width = min(_SMOOTHED, len(values))
        smooth = np.convolve(values, np.ones(width) / width, mode="valid")
        axes.plot(steps[width - 1 :], smooth, label=f"{tag.removeprefix(prefix)}: {smooth[-1]:.3f}", linewidth=1.4)


def _draw_looks(axes: Axes, trained: TrainedActor) -> None:
    looks = [(step.step, step.ndcg) for step in trained.trace if step.ndcg is not None]
    axes.plot(*zip(*looks, strict=True), marker="o", markersize=3.0, linewidth=1.4, label="held-out users")
    axes.axhline(trained.cloned_ndcg, color="#777777", linestyle="--", label=f"cloning: {trained.cloned_ndcg:.4f}")
    axes.axvline(trained.best, color="#d95f02", linestyle=":", label=f"released: {trained.ndcg:.4f}")
    axes.set_title("next item", loc="left")
    axes.set_ylabel("NDCG@10")
