"""Where a training stands, as a file; reading one runs nothing that lies in it."""

import os
import pickle
from pathlib import Path

import torch

from recommender.rl.loop import Checkpoint
from schemas.errors import ConfigurationError


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint in the place of the one before, so that there is a whole one at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    torch.save(checkpoint, beside)
    os.replace(beside, path)  # noqa: PTH105 - replaces the file at once


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what :func:`write_checkpoint` wrote.

    Raises:
        ConfigurationError: the file cannot be read, or holds anything but tensors, numbers and words.
    """
    try:
        checkpoint = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigurationError(f"checkpoint {path} cannot be read: {first_line}") from error
    if not isinstance(checkpoint, dict) or "of" not in checkpoint:
        raise ConfigurationError(f"checkpoint {path} cannot be read: it holds {type(checkpoint).__name__}")
    return checkpoint
