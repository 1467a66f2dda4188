"""When everything is due: a schedule that is fixed before the run and waits for nothing."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recommender.arrays import Floats

BURST_EVERY_S = 5.0
BURST_S = 0.5
BURST_FACTOR = 3.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast ratings go out; one of the three.

    Attributes:
        rate: ratings a second.
        speed: multiple of the speed at which the log itself ran.
        ramp: ratings a second at the start and at the end of the run; needs a duration.

    Raises:
        ValueError: none or several are given, or one is not positive.
    """

    rate: float | None = None
    speed: float | None = None
    ramp: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check that there is one, and that it is positive."""
        given = [value for value in (self.rate, self.speed, self.ramp) if value is not None]
        if len(given) != 1:
            raise ValueError(f"one of rate, speed and ramp must be given, got {len(given)}")
        (value,) = given
        if not min(value if isinstance(value, tuple) else (value,)) > 0:
            raise ValueError(f"rate, speed and ramp must be positive, got {value}")

    def describe(self) -> str:
        """Return the pace in words.

        >>> Pace(ramp=(10.0, 500.0)).describe()
        '10 to 500 ratings a second'
        """
        if self.ramp is not None:
            return f"{self.ramp[0]:g} to {self.ramp[1]:g} ratings a second"
        return f"{self.rate:g} ratings a second" if self.rate is not None else f"{self.speed:g} times the log's speed"


def due_times(pace: Pace, events: int, ts_ms: Floats | None = None, duration_s: float | None = None) -> Floats:
    """Return when each event is due, in seconds from the start; fewer than ``events`` where the duration ends first.

    Args:
        pace: how fast.
        events: how many there are.
        ts_ms: when each was given, for a speed; time that runs backwards stands still.
        duration_s: nothing is due at or after this; None for as long as there are events.

    Raises:
        ValueError: a ramp has no duration, or a speed no times.

    >>> due_times(Pace(rate=2.0), 10, duration_s=2.0)
    array([0. , 0.5, 1. , 1.5])
    """
    number = np.arange(events, dtype=np.float64)
    if pace.rate is not None:
        due = number / pace.rate
    elif pace.ramp is not None:
        if duration_s is None:
            raise ValueError("a ramp needs a duration")
        due = _ramp(number, *pace.ramp, duration_s)
    else:
        if ts_ms is None:
            raise ValueError("a speed needs events with ts_ms")
        passed = np.maximum.accumulate(ts_ms) - (ts_ms[0] if events else 0)
        due = np.maximum(passed, 0.0) / 1000.0 / (pace.speed or 1.0)
    return due if duration_s is None else due[due < duration_s]


def _ramp(number: Floats, first: float, last: float, duration_s: float) -> Floats:
    """Return when event n is due while the rate goes from ``first`` to ``last``: n = first t + (last - first) t^2 / 2S.

    Events beyond the ramp are due at its end, where none is due any more.
    """
    slope = (last - first) / duration_s
    # The root that also holds where the slope is 0.
    under = np.maximum(first * first + 2 * slope * number, 0.0)
    due = 2 * number / (first + np.sqrt(under))
    due[number >= (first + last) / 2 * duration_s] = duration_s
    return due


def in_bursts(due: Floats) -> Floats:
    """Return the schedule with half a second of three times the rate in every five, and less in between.

    The mean rate stays, and so does the order.

    >>> in_bursts(np.array([0.0, 1.0, 2.5])).round(3).tolist()
    [0.0, 1.286, 2.5]
    """
    cycles = int(due[-1] // BURST_EVERY_S) + 1 if len(due) else 1
    calm_s = (BURST_EVERY_S - BURST_S) / 2
    calm_rate = (BURST_EVERY_S - BURST_FACTOR * BURST_S) / (BURST_EVERY_S - BURST_S)
    real = np.array([0.0, calm_s, calm_s + BURST_S])
    passed = np.array([0.0, calm_s * calm_rate, calm_s * calm_rate + BURST_FACTOR * BURST_S])
    starts = BURST_EVERY_S * np.arange(cycles)
    knots_real = np.append((starts[:, None] + real).ravel(), cycles * BURST_EVERY_S)
    knots_passed = np.append((starts[:, None] + passed).ravel(), cycles * BURST_EVERY_S)
    warped: Floats = np.interp(due, knots_passed, knots_real)
    return warped


def request_times(due: Floats, per_rating: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return when each request is due, and the number of the rating whose user it asks for.

    Requests keep pace with the ratings, bursts and ramps included.

    >>> request_times(np.array([0.0, 1.0]), 2.0)[1].tolist()
    [0, 0, 1, 1]
    """
    place = np.arange(int(len(due) * per_rating)) / per_rating if per_rating else np.zeros(0)
    return np.interp(place, np.arange(len(due)), due) if len(place) else place, place.astype(np.int64)
