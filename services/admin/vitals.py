"""Figures of a process for people, out of two looks at its numbers."""

import math
from collections.abc import Iterator

import msgspec

from services.admin.scrapes import Scrape

SHED = ("overloaded", "deadline_exceeded")
_LATENCY = {"worker": "streamrec_apply_seconds", "scorer": "streamrec_answer_seconds"}
_BATCH = {"worker": "streamrec_batch_ratings", "scorer": "streamrec_batch_requests"}


class Partition(msgspec.Struct, frozen=True):
    """A partition of ratings as its worker has it.

    Attributes:
        next_offset: the watermark; None before it is known.
        lag: records behind the log end; None before it is known.
        age_s: since the watermark moved or was found at the end of the log.
    """

    next_offset: int | None
    lag: int | None
    age_s: float


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """How one process does; rates and latencies are those between the two looks, None where there was nothing.

    Attributes:
        url: of its endpoint.
        role: `worker` or `scorer`; empty when it does not answer.
        version: of streamrec.
        ready: what `/readyz` says.
        reasons: why it is not.
        per_s: ratings applied, or requests answered, a second.
        lag: records of its topic not taken yet.
        age_s: of the oldest watermark it knows.
        batch: mean records of a batch.
        p50_ms: of applying a batch, or of an answer.
        p99_ms: likewise.
        errors_per_s: answers that are an error; for a worker conflicts.
        shed_per_s: requests refused for lack of time or room.
        dead_letters_per_s: records that broke the contract.
        waiting: requests that wait for a state or the store.
        unanswered: requests taken and not acknowledged.
        store_failures_per_s: calls to the store without an answer.
        cpu: cores used.
        memory_mb: resident.
        device: what it computes on.
        models: live release of each name.
        partitions: of ratings, by number.
    """

    url: str
    role: str
    version: str
    ready: bool
    reasons: tuple[str, ...]
    per_s: float | None
    lag: int | None
    age_s: float | None
    batch: float | None
    p50_ms: float | None
    p99_ms: float | None
    errors_per_s: float
    shed_per_s: float
    dead_letters_per_s: float
    waiting: int
    unanswered: int
    store_failures_per_s: float
    cpu: float | None
    memory_mb: float | None
    device: str
    models: dict[str, str]
    partitions: dict[int, Partition]


def read_vitals(before: Scrape, now: Scrape) -> Vitals:
    """Return how a process does, out of two looks at it."""
    role = now.label("streamrec_build_info", "role")
    is_worker = role == "worker"
    seconds = max(now.at_s - before.at_s, 1e-9)

    def per_s(name: str, **labels: str) -> float:
        return _growth(before.total(name, **labels), now.total(name, **labels)) / seconds

    answered = per_s("streamrec_answers_total")
    lag = "streamrec_ratings_lag" if is_worker else "streamrec_requests_lag"
    age = "streamrec_watermark_age_seconds" if is_worker else "streamrec_state_age_seconds"
    p50, p99 = (quantile(share, before, now, _LATENCY[role]) if role else None for share in (0.5, 0.99))
    memory = now.total("process_resident_memory_bytes")
    return Vitals(
        url=now.url,
        role=role,
        version=now.label("streamrec_build_info", "version"),
        ready=now.is_ready,
        reasons=now.reasons,
        per_s=(per_s("streamrec_ratings_total") if is_worker else answered) if role else None,
        lag=_whole(_sum_known(now, lag)),
        age_s=max((value for _, value in now.of(age)), default=None),
        batch=_mean(before, now, _BATCH[role]) if role else None,
        p50_ms=None if p50 is None else 1000 * p50,
        p99_ms=None if p99 is None else 1000 * p99,
        errors_per_s=per_s("streamrec_commit_conflicts_total")
        if is_worker
        else answered - per_s("streamrec_answers_total", code="ok"),
        shed_per_s=sum(per_s("streamrec_answers_total", code=code) for code in SHED),
        dead_letters_per_s=per_s("streamrec_rating_dead_letters_total") + per_s("streamrec_request_dead_letters_total"),
        waiting=int(now.total("streamrec_requests_waiting")),
        unanswered=int(now.total("streamrec_requests_unanswered")),
        store_failures_per_s=per_s("streamrec_store_failures_total"),
        cpu=per_s("process_cpu_seconds_total") if memory else None,
        memory_mb=memory / 2**20 if memory else None,
        device=now.label("streamrec_device_info", "device"),
        models={labels["name"]: labels["version"] for labels, _ in now.of("streamrec_model_info")},
        partitions=dict(sorted(_partitions(now))),
    )


def quantile(share: float, before: Scrape, now: Scrape, name: str) -> float | None:
    """Return what a share of the observations between two looks was at most, None without any.

    Between a bucket's ends it is interpolated, and beyond the last it is that one's end, as Prometheus does.
    """
    earlier = {labels["le"]: value for labels, value in before.of(f"{name}_bucket")}
    counts = [
        (float(labels["le"]), _growth(earlier.get(labels["le"], 0.0), value))
        for labels, value in now.of(f"{name}_bucket")
    ]
    if not counts or not counts[-1][1]:
        return None
    wanted, below, low = share * counts[-1][1], 0.0, 0.0
    for end, count in counts:
        if count >= wanted:
            if math.isinf(end):
                return low
            return low + (end - low) * ((wanted - below) / (count - below) if count > below else 1.0)
        below, low = count, end
    return low


def _partitions(now: Scrape) -> Iterator[tuple[int, Partition]]:
    offsets, lags = (
        {labels["partition"]: value for labels, value in now.of(f"streamrec_ratings_{name}")}
        for name in ("next_offset", "lag")
    )
    for labels, age_s in now.of("streamrec_watermark_age_seconds"):
        number = labels["partition"]
        offset, lag = (_whole(found.get(number, math.nan)) for found in (offsets, lags))
        yield int(number), Partition(offset, lag, age_s)


def _growth(before: float, now: float) -> float:
    """Return how much a counter grew; one that fell began anew with its process."""
    return now - before if now >= before else now


def _mean(before: Scrape, now: Scrape, name: str) -> float | None:
    count, total = (_growth(before.total(f"{name}_{kind}"), now.total(f"{name}_{kind}")) for kind in ("count", "sum"))
    return total / count if count else None


def _sum_known(now: Scrape, name: str) -> float:
    known = [value for _, value in now.of(name) if not math.isnan(value)]
    return sum(known) if known else math.nan


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)
