"""How a cost grows: the exponent of a power law, and what each piece of work costs whatever is in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through points by least squares.

    Attributes:
        intercept: at 0.
        slope: of the line.
        slope_error: standard error of the slope, from how far the points lie off the line.
    """

    intercept: float
    slope: float
    slope_error: float


def fit_line(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """Return the line through at least three points of which not all have one x.

    slope = S_xy / S_xx; its error = sqrt(S_rr / (n - 2) / S_xx), S_rr the sum of the squared residuals.

    Raises:
        ValueError: too few points, or all have one x.

    >>> fit_line([0, 1, 2], [1, 3, 5])
    Line(intercept=1.0, slope=2.0, slope_error=0.0)
    """
    n = len(xs)
    if n < 3 or len(set(xs)) < 2:
        raise ValueError(f"a line with an error needs 3 points and 2 different x, got {n} and {len(set(xs))}")
    x_mean, y_mean = sum(xs) / n, sum(ys) / n
    s_xx = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / s_xx
    intercept = y_mean - slope * x_mean
    s_rr = sum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    return Line(intercept, slope, math.sqrt(s_rr / (n - 2) / s_xx))


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> Line:
    """Return log cost as a line of log size: its slope is the exponent of ``cost ~ size^slope``.

    >>> round(fit_exponent([1, 4, 16], [3, 6, 12]).slope, 6)
    0.5
    """
    return fit_line([math.log(size) for size in sizes], [math.log(cost) for cost in costs])


def fit_share(sizes: Sequence[float], costs: Sequence[float]) -> Line:
    """Return the cost of one of ``size`` done together as a line of 1/size.

    cost = own + shared / size: ``intercept`` is what each costs by itself, ``slope`` what all of them share.

    >>> line = fit_share([1, 2, 4], [11, 6, 3.5])
    >>> round(line.intercept, 6), round(line.slope, 6)
    (1.0, 10.0)
    """
    return fit_line([1 / size for size in sizes], costs)
