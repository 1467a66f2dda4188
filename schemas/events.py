"""The events of the contract, as typed values.

Defaults are the contract's. Ids are normalised strings of 1 to 128 characters. See ``docs/contract.md``.
"""

from typing import TYPE_CHECKING, Any, Literal

import msgspec

VERSION = 1
MAX_ID_LENGTH = 128
MAX_RATING_BYTES = 16 * 1024
MAX_REQUEST_BYTES = 256 * 1024
MAX_K = 500
MAX_DEADLINE_MS = 86_400_000

DEAD_LETTER_REASONS = (
    "not_utf8",
    "not_json",
    "too_large",
    "empty_value",
    "missing_field",
    "wrong_type",
    "bad_id",
    "rating_not_finite",
    "rating_out_of_range",
    "unknown_version",
)

ERROR_CODES = (
    "invalid_request",
    "unknown_policy",
    "invalid_filter",
    "deadline_exceeded",
    "state_not_reached",
    "overloaded",
    "model_unavailable",
    "internal",
)


if TYPE_CHECKING:
    WireId = str
else:
    WireId = str | int  # producers may write integers; the codec hands on strings


class RatingEvent(msgspec.Struct, kw_only=True, gc=False):
    """One user's rating of one item: the only event that changes state."""

    user_id: WireId
    item_id: WireId
    rating: float
    event_id: str | None = None
    ts_ms: int | None = None
    request_id: str | None = None
    v: int = VERSION


class GenreFilter(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Genres an item must have any of, all of, and none of; an empty list asks nothing."""

    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


class YearFilter(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The closed range of release years."""

    min: int | None = None
    max: int | None = None


AttributeValue = str | int | float | bool


class Filters(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Which items may be recommended; every condition must hold."""

    genres: GenreFilter = GenreFilter()
    year: YearFilter = YearFilter()
    attributes: dict[str, AttributeValue | tuple[AttributeValue, ...]] = {}


class Position(msgspec.Struct, kw_only=True, frozen=True):
    """A place in the ratings log, as a producer's acknowledgement gives it."""

    partition: int
    offset: int


class RecommendationRequest(msgspec.Struct, kw_only=True):
    """A question for a slate of ``k`` items."""

    request_id: str
    user_id: str
    k: int = 10
    policy: str | None = None
    epsilon: float | None = None
    candidates: tuple[str, ...] | None = None
    exclude_seen: bool = True
    exclude: tuple[str, ...] = ()
    filters: Filters = Filters()
    explain: bool = False
    min_t: int | None = None
    min_position: Position | None = None
    deadline_ms: int = 5000
    ts_ms: int | None = None
    v: int = VERSION


class RecommendedItem(msgspec.Struct, kw_only=True):
    """One slot of a slate. ``score`` is finite, higher is better; ``parts`` is the arithmetic behind it."""

    item_id: str
    score: float
    propensity: float
    explored: bool
    parts: dict[str, Any] = {}


class StateView(msgspec.Struct, kw_only=True):
    """How fresh an answer is: what it had seen of the user, of the log and of the item statistics."""

    t: int = 0
    partition: int | None = None
    offset: int | None = None
    applied_to: dict[str, int] = {}
    statistics_to: dict[str, int] = {}
    watermark_age_ms: float | None = None


class Timing(msgspec.Struct, kw_only=True):
    """Where the scorer's time went, in milliseconds."""

    queue_ms: float
    score_ms: float


class ErrorView(msgspec.Struct, kw_only=True):
    """Why a request has no items; ``code`` is one of :data:`ERROR_CODES`."""

    code: str
    message: str


class Recommendation(msgspec.Struct, kw_only=True):
    """The answer to one request; at least one per request, de-duplicated by ``request_id``."""

    request_id: str
    user_id: str
    policy: str | None = None
    policy_version: str | None = None
    model: str | None = None
    items: list[RecommendedItem] = []
    slate_propensity: float | None = None
    propensity_kind: Literal["exact", "counted"] = "exact"
    epsilon: float | None = None
    n_candidates: int = 0
    seed: int = 0
    state: StateView = msgspec.field(default_factory=StateView)
    timing: Timing = msgspec.field(default_factory=lambda: Timing(queue_ms=0.0, score_ms=0.0))
    explanation: dict[str, Any] | None = None
    error: ErrorView | None = None
    ts_ms: int = 0
    v: int = VERSION


class Item(msgspec.Struct, kw_only=True, frozen=True):
    """What a catalogue says of an item; a null value on the topic withdraws it."""

    item_id: str
    title: str = ""
    genres: tuple[str, ...] = ()
    year: int | None = None
    language: str | None = None
    rating: float | None = None
    attributes: dict[str, Any] = {}
    v: int = VERSION


class ModelRelease(msgspec.Struct, kw_only=True, frozen=True):
    """The active release of one named model; ``uri`` is any fsspec URL, ``sha256`` of the file's bytes."""

    name: str
    version: str
    kind: Literal["embedding", "policy"]
    uri: str
    sha256: str
    metrics: dict[str, float] = {}
    ts_ms: int = 0
    v: int = VERSION

    @property
    def label(self) -> str:
        """The release as answers name it: ``name@version``."""
        return f"{self.name}@{self.version}"
