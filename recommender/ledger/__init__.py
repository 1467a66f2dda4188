"""The ledger: the only per-user state, and everything that is computed from it alone."""

from recommender.ledger.fold import apply_event, compact, mean_of_entries
from recommender.ledger.layout import (
    EMPTY_EMBEDDING,
    ENTRY,
    EVENT,
    NO_ENTRIES,
    LastEvent,
    Ledger,
    entries,
    entries_of_all,
    pack,
    unpack,
)

__all__ = [
    "EMPTY_EMBEDDING",
    "ENTRY",
    "EVENT",
    "NO_ENTRIES",
    "LastEvent",
    "Ledger",
    "apply_event",
    "compact",
    "entries",
    "entries_of_all",
    "mean_of_entries",
    "pack",
    "unpack",
]
