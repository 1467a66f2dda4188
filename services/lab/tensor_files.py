"""Named tensors out of a file, without running anything that the file could hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from schemas.errors import ConfigurationError, DataError

SUFFIXES = (".safetensors", ".pt", ".pth")


def read_tensors(path: Path) -> Mapping[str, NDArray[Any]]:
    """Return the tensors of a file, ``.safetensors`` or what ``torch.save`` made of a dictionary of tensors.

    Raises:
        DataError: the file cannot be read, or holds more than tensors.
        ConfigurationError: a file of torch is given and torch is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path} must end in one of {', '.join(SUFFIXES)}, got {suffix or 'no ending'}")
    return _read_safetensors(path) if suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        tensors: dict[str, NDArray[Any]] = safetensors.numpy.load(path.read_bytes())
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{path}: {error!r}") from error
    return tensors


def _read_torch(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        import torch  # noqa: PLC0415 - for files of torch only
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"reading {path} needs torch: install streamrec[lab]") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path} holds more than tensors, or cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(each, torch.Tensor) for each in found.values()):
        raise DataError(f"{path} must hold a dictionary of tensors, got {type(found).__name__}")
    try:
        return {str(name): each.detach().numpy() for name, each in found.items()}
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{path} has a tensor that numpy has no form for: {error}") from error
