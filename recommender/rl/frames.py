"""Frames of a rating log: what a user rated in a row, what came next, and how it was rated.

    state      = [x_0 .. x_{F-1}, oldest first | r'_0 .. r'_{F-1}]       F (D + 1) numbers
    action     = x_F,  reward = r'_F
    next_state = the same layout, one step on;  done on a user's last frame

A state of fewer events is padded at its start: rows of -1, whose vectors are zeros, and ratings r' of 0.

A frame is kept as F + 1 catalogue rows and ratings; the vectors are looked up when a batch is made, which takes D times
less memory. Source: the RecNN library's frames (github.com/awarebayes/RecNN).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from recommender.arrays import Flags, Floats, Integers, read_only
from recommender.ranking.log import RatingLog
from recommender.rl.state import centre_ratings
from schemas.codec import RATING_QUANTUM

PADDING = -1
"""The row of an event that is not there."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """M frames, those of a user side by side and in time order.

    Attributes:
        users: number of the user of each, ascending, shape [M].
        rows: catalogue rows, oldest first, the action last, -1 where padded, shape [M, F + 1].
        rewards: r' of each of them, 0 where padded, shape [M, F + 1].
        done: whether it is the user's last frame, shape [M].
        events: place in the log of each action, shape [M].
    """

    users: Integers
    rows: Integers
    rewards: Floats
    done: Flags
    events: Integers

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, read_only(getattr(self, field.name)))

    def __len__(self) -> int:
        return len(self.users)

    @property
    def frame_size(self) -> int:
        """How many events a state has, F."""
        return int(self.rows.shape[1] - 1)

    def take(self, places: Integers | Flags) -> "Frames":
        """Return some of the frames."""
        return Frames(
            self.users[places], self.rows[places], self.rewards[places], self.done[places], self.events[places]
        )


def make_frames(log: RatingLog, frame_size: int, scale: tuple[float, float], least: int | None = None) -> Frames:
    """Return all frames of a log; a user with fewer than ``least + 1`` events gives none.

    Args:
        log: the events, in time order.
        frame_size: events of a state, F.
        scale: least and highest rating.
        least: events that a state has at least, the rest padded, 1..F; None for all F.

    Raises:
        ValueError: ``frame_size`` is below 1, or ``least`` not in 1..F.
    """
    if frame_size < 1:
        raise ValueError(f"frame_size must be at least 1, got {frame_size}")
    least = frame_size if least is None else least
    if not 1 <= least <= frame_size:
        raise ValueError(f"least must be in 1..{frame_size}, got {least}")
    order = np.argsort(log.users, kind="stable")
    users = log.users[order]
    position = np.arange(len(order)) - np.searchsorted(users, users)
    ends = np.flatnonzero(position >= least)
    back = np.arange(-frame_size, 1)
    is_there = back >= -position[ends, np.newaxis]
    events = order[np.where(is_there, ends[:, np.newaxis] + back, 0)]
    rewards = np.where(is_there, centre_ratings(log.ratings[events] / RATING_QUANTUM, scale), 0.0)
    own = users[ends]
    done = np.append(own[1:] != own[:-1], True)[: len(own)]
    return Frames(own, np.where(is_there, log.rows[events], PADDING), rewards, done, events[:, -1])


def split_users(frames: Frames, share: float, seed: int) -> tuple[Frames, Frames]:
    """Return the frames to learn from, and those of ``share`` of the users, held out by a seed.

    Raises:
        ValueError: ``share`` is not in [0, 1).
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"share must be in [0, 1), got {share}")
    users = np.random.default_rng(seed).permutation(np.unique(frames.users))
    is_held_out = np.isin(frames.users, users[: round(share * len(users))])
    return frames.take(~is_held_out), frames.take(is_held_out)


def batches_by_user(frames: Frames, users: int, generator: np.random.Generator) -> Iterator[Integers]:
    """Yield the places of all frames once, those of ``users`` users at a time, users in random order.

    Raises:
        ValueError: ``users`` is below 1.
    """
    if users < 1:
        raise ValueError(f"users of a batch must be at least 1, got {users}")
    starts = np.flatnonzero(np.diff(frames.users, prepend=-1))
    ends = np.append(starts[1:], len(frames))
    order = generator.permutation(len(starts))
    for first in range(0, len(order), users):
        chosen = order[first : first + users]
        yield np.concatenate([np.arange(starts[place], ends[place]) for place in chosen])


def one_hot(rows: Integers, size: int) -> Floats:
    """Return actions as one-hot vectors, shape [B, N], for policies over items as such.

    >>> one_hot(np.array([1]), 3)
    array([[0., 1., 0.]])
    """
    return np.eye(size)[rows]


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """Whole histories side by side, padded at their ends, for an encoder that walks them.

    Attributes:
        rows: catalogue rows, 0 where padded, shape [B, L].
        rewards: r', 0 where padded, shape [B, L].
        lengths: events of each user, shape [B].
    """

    rows: Integers
    rewards: Floats
    lengths: Integers


def pad_histories(log: RatingLog, users: Integers, scale: tuple[float, float]) -> Histories:
    """Return the whole histories of some users, by number, oldest event first."""
    each = [np.flatnonzero(log.users == user) for user in users]
    lengths = np.array([len(own) for own in each], dtype=np.int64)
    rows = np.zeros((len(each), int(lengths.max(initial=0))), dtype=np.int64)
    rewards = np.zeros(rows.shape)
    for place, own in enumerate(each):
        rows[place, : len(own)] = log.rows[own]
        rewards[place, : len(own)] = centre_ratings(log.ratings[own] / RATING_QUANTUM, scale)
    return Histories(rows, rewards, lengths)
