"""What a worker counts, beside what every process does."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from schemas.events import DEAD_LETTER_REASONS

RATINGS = Counter("streamrec_ratings", "Rating events, by what became of them: `applied` or `repeat`", ["outcome"])
RATING_LETTERS = Counter("streamrec_rating_dead_letters", "Records of `ratings` dead-lettered", ["reason"])
UNKNOWN_ITEMS = Counter(
    "streamrec_ratings_of_unknown_items", "Rating events applied whose item is not in the catalogue"
)
BATCH_RATINGS = Histogram(
    "streamrec_batch_ratings", "Records of a batch", buckets=(1, 4, 16, 64, 128, 256, 512, 1024, 2048)
)
APPLY_SECONDS = Histogram("streamrec_apply_seconds", "Time to apply one batch of ratings")
COMMIT_CONFLICTS = Counter("streamrec_commit_conflicts", "Ledgers read again because they changed before the commit")
STALE_FENCES = Counter("streamrec_stale_fences", "Partitions given up because another worker had taken them")
SESSIONS = Counter("streamrec_sessions", "Times a partition was claimed: by assignment, or anew after a refusal")
LEDGERS_FOLDED = Counter("streamrec_ledgers_folded", "Ledgers of idle users rewritten with less memory")

LAG = Gauge(
    "streamrec_ratings_lag", "Records of `ratings` between watermark and log end; NaN before a fetch", ["partition"]
)
NEXT_OFFSET = Gauge("streamrec_ratings_next_offset", "The watermark: the first offset not applied", ["partition"])
AGE = Gauge(
    "streamrec_watermark_age_seconds", "Since the watermark moved or was found at the end of the log", ["partition"]
)

for _outcome in ("applied", "repeat"):
    RATINGS.labels(_outcome)
for _reason in DEAD_LETTER_REASONS:
    RATING_LETTERS.labels(_reason)


def observe_batch(
    records: int,
    applied: int,
    repeats: int,
    dead_letters: Mapping[str, int],
    unknown_items: int,
    conflicts: int,
    seconds: float,
) -> None:
    """Count one applied batch of ratings; ``dead_letters`` is by reason."""
    BATCH_RATINGS.observe(records)
    RATINGS.labels("applied").inc(applied)
    RATINGS.labels("repeat").inc(repeats)
    for reason, count in dead_letters.items():
        RATING_LETTERS.labels(reason).inc(count)
    UNKNOWN_ITEMS.inc(unknown_items)
    COMMIT_CONFLICTS.inc(conflicts)
    APPLY_SECONDS.observe(seconds)
