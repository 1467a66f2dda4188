"""Frames kept in a folder by what they were made of: the log's content, and every setting that shapes them."""

import hashlib
import json
import tempfile
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import structlog

from recommender.ranking.log import RatingLog
from recommender.rl.frames import Frames, make_frames

REVISION = 1
"""Raised when frames of the same log and settings become others."""

_NAMES = tuple(field.name for field in fields(Frames))
_log = structlog.get_logger()


def key_of(log: RatingLog, frame_size: int, scale: tuple[float, float], least: int) -> str:
    """Return the SHA-256 of all that frames depend on, as hex."""
    digest = hashlib.sha256(json.dumps([REVISION, len(log), frame_size, *scale, least]).encode())
    for column in (log.users, log.rows, log.ratings):
        digest.update(column.astype(np.int64).tobytes())
    return digest.hexdigest()


def cached_frames(log: RatingLog, frame_size: int, scale: tuple[float, float], least: int, folder: Path) -> Frames:
    """Return the frames of a log, out of the folder where they are there, and kept there where they were not.

    A file that cannot be read is made again.

    Args:
        log: the events, in time order.
        frame_size: events of a state, F.
        scale: least and highest rating.
        least: events that a state has at least, the rest padded.
        folder: made where it is not.

    Raises:
        OSError: the folder cannot be written to.
        ValueError: ``frame_size`` is below 1, or ``least`` not in 1..F.
    """
    path = folder / f"{key_of(log, frame_size, scale, least)}.npz"
    if path.exists():
        try:
            with path.open("rb") as file, np.load(file) as kept:
                return Frames(**{name: kept[name] for name in _NAMES})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            _log.warning("frames.unreadable", path=str(path), error=str(error))
    frames = make_frames(log, frame_size, scale, least)
    folder.mkdir(parents=True, exist_ok=True)
    # Another training may be reading: a file appears whole or not at all.
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        np.savez(Path(beside) / path.name, **{name: getattr(frames, name) for name in _NAMES})
        (Path(beside) / path.name).replace(path)
    return frames
