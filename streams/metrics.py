"""What every process counts of itself, in prometheus-client's default registry; a room has its own beside it.

The worker's numbers are in :mod:`streams.worker.metrics`, the scorer's in `services/scorer/metrics.py`, so that a
process shows its own and no other's. Labels are bounded: partitions, shards, reasons, codes, names of releases; never a
user.
"""

import platform

from prometheus_client import Counter, Gauge

from schemas.events import DEAD_LETTER_REASONS
from streams.bus.dead_letters import CODE_VERSION

BUILD = Gauge("streamrec_build_info", "1; what runs", ["role", "version", "python"])
DEVICE = Gauge("streamrec_device_info", "1; what the process computes on", ["device"])
READY = Gauge("streamrec_ready", "1 when `/readyz` answers 200, else 0")
STORE_FAILURES = Counter(
    "streamrec_store_failures", "Calls to the store without an answer, or one that it cannot serve"
)

MODEL = Gauge("streamrec_model_info", "1; the live release of a name", ["name", "version"])
ITEMS_REFUSED = Counter("streamrec_items_refused", "Records of `items` refused", ["reason"])
RELEASES_REFUSED = Counter("streamrec_releases_refused", "Releases refused: not fetched, not as summed, or unreadable")
CATALOGUE_ITEMS = Gauge("streamrec_catalogue_items", "Items of the live catalogue, withdrawn ones included")
CATALOGUE_VERSION = Gauge("streamrec_catalogue_version", "How often the live catalogue was replaced")

for _reason in (*DEAD_LETTER_REASONS, "collision"):
    ITEMS_REFUSED.labels(_reason)


def show_process(role: str, device: str) -> None:
    """Say what runs, and on what it computes."""
    BUILD.labels(role, CODE_VERSION, platform.python_version()).set(1)
    DEVICE.labels(device).set(1)


def show_release(name: str, before: str | None, now: str | None) -> None:
    """Say which version of a name is live; the one before is shown no more, so there is one for each name.

    Args:
        name: of the releases.
        before: the version that was live, None for none.
        now: the version that is, None for none.
    """
    if before is not None:
        MODEL.remove(name, before)
    if now is not None:
        MODEL.labels(name, now).set(1)
