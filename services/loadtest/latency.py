"""Latencies as HdrHistograms, from when something was due to when it was done."""

from collections.abc import Mapping

import numpy as np
from hdrh.histogram import HdrHistogram

from recommender.arrays import Floats

LONGEST_S = 3600.0
DIGITS = 3
SHARES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
CURVE = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999)


def histogram_of(latencies_s: Floats) -> HdrHistogram:
    """Return the histogram, in microseconds; what is NaN was never done and is left out."""
    found = HdrHistogram(1, int(LONGEST_S * 1e6), DIGITS)
    for latency in latencies_s[~np.isnan(latencies_s)].tolist():
        found.record_value(min(max(1, round(latency * 1e6)), int(LONGEST_S * 1e6)))
    return found


def percentiles_ms(latencies_s: Floats) -> dict[str, float]:
    """Return p50, p90, p99, p99.9 and the longest, in milliseconds; none without any latency.

    >>> percentiles_ms(np.array([0.001] * 9 + [0.1]))["p90"]
    1.0
    """
    histogram = histogram_of(latencies_s)
    if not histogram.get_total_count():
        return {}
    return {name: histogram.get_value_at_percentile(share) / 1000 for name, share in SHARES.items()}


def curve_of(latencies_s: Floats) -> list[tuple[float, float]]:
    """Return the latency in milliseconds by percentile, as far as there are values to tell them apart."""
    histogram = histogram_of(latencies_s)
    count = histogram.get_total_count()
    return [
        (share, histogram.get_value_at_percentile(share) / 1000)
        for share in CURVE
        if count and (100 - share) / 100 * count >= 1
    ]


def by_second(due: Floats, latencies_s: Floats) -> Mapping[str, list[float | None]]:
    """Return p50 and p99 in milliseconds of what was due in each second of the run; None where nothing was."""
    second = due.astype(np.int64)
    seconds = range(int(second.max(initial=-1)) + 1)
    found = [percentiles_ms(latencies_s[second == each]) for each in seconds]
    return {name: [each.get(name) for each in found] for name in ("p50", "p99")}
