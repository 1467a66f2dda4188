"""What the endpoint of a process says at one moment: its numbers, and whether it is ready."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 2.0
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Scrape:
    """One look at one endpoint.

    Attributes:
        url: of the endpoint, without a path.
        at_s: when, on the monotonic clock.
        samples: values by name, each with its labels.
        is_ready: what `/readyz` says.
        reasons: why it is not.
    """

    url: str
    at_s: float
    samples: Mapping[str, list[tuple[Labels, float]]] = field(default_factory=dict)
    is_ready: bool = False
    reasons: tuple[str, ...] = ()

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have these labels; 0 without any."""
        return sum(value for own, value in self.of(name) if labels.items() <= own.items())

    def of(self, name: str) -> Iterator[tuple[Labels, float]]:
        """Yield the samples of a name."""
        yield from self.samples.get(name, ())

    def label(self, name: str, key: str) -> str:
        """Return a label of the first sample of a name; empty without one."""
        return next((labels.get(key, "") for labels, _ in self.of(name)), "")


def scrape(url: str, timeout_s: float = TIMEOUT_S) -> Scrape:
    """Return what an endpoint says; one that does not answer is not ready, and why is its reason."""
    url = url.rstrip("/")
    try:
        samples: dict[str, list[tuple[Labels, float]]] = {}
        for family in text_string_to_metric_families(_get(f"{url}/metrics", timeout_s)):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        at_s = time.monotonic()
        said = json.loads(_get(f"{url}/readyz", timeout_s))
        return Scrape(url, at_s, samples, bool(said["ready"]), tuple(said["reasons"]))
    except (OSError, ValueError, KeyError) as error:
        return Scrape(url, time.monotonic(), reasons=(f"{url} does not answer: {error}",))


def _get(url: str, timeout_s: float) -> str:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310 - the user's own URL
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        if error.code != 503:  # noqa: PLR2004 - what /readyz says where it is not ready
            raise
        return error.read().decode()
