"""The numbers a process keeps of its own work, in prometheus-client's default registry."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

RATINGS = Counter("streamrec_ratings", "Rating events, by what became of them", ["outcome"])
RATING_LETTERS = Counter("streamrec_rating_dead_letters", "Records of `ratings` dead-lettered", ["reason"])
UNKNOWN_ITEMS = Counter(
    "streamrec_ratings_of_unknown_items", "Rating events applied whose item is not in the catalogue"
)
COMMIT_CONFLICTS = Counter("streamrec_commit_conflicts", "Ledgers read again because they changed before the commit")
LEDGERS_FOLDED = Counter("streamrec_ledgers_folded", "Ledgers of idle users rewritten with less memory")
APPLY_SECONDS = Histogram("streamrec_apply_seconds", "Time to apply one batch of ratings")

ANSWERS = Counter("streamrec_answers", "Requests answered; code is `ok` or the error's", ["code"])
REQUEST_LETTERS = Counter("streamrec_request_dead_letters", "Records of `requests` dead-lettered", ["reason"])
BATCH_REQUESTS = Histogram(
    "streamrec_batch_requests", "Requests of a micro-batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
SCORE_SECONDS = Histogram(
    "streamrec_score_seconds", "Time to score one request", buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1)
)
WAITING = Gauge("streamrec_requests_waiting", "Requests that wait for a state or for the store")

ITEMS_REFUSED = Counter("streamrec_items_refused", "Records of `items` refused", ["reason"])
RELEASES_REFUSED = Counter("streamrec_releases_refused", "Releases of item vectors refused")
CATALOGUE_ITEMS = Gauge("streamrec_catalogue_items", "Items of the live catalogue, withdrawn ones included")
CATALOGUE_VERSION = Gauge("streamrec_catalogue_version", "How often the live catalogue was replaced")


def observe_batch(
    applied: int, repeats: int, dead_letters: Mapping[str, int], unknown_items: int, conflicts: int, seconds: float
) -> None:
    """Count one applied batch of ratings; ``dead_letters`` is by reason."""
    RATINGS.labels("applied").inc(applied)
    RATINGS.labels("repeat").inc(repeats)
    for reason, count in dead_letters.items():
        RATING_LETTERS.labels(reason).inc(count)
    UNKNOWN_ITEMS.inc(unknown_items)
    COMMIT_CONFLICTS.inc(conflicts)
    APPLY_SECONDS.observe(seconds)
