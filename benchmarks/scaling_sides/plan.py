"""What loads need, computed from measured costs: a pure function, and the table of docs/capacity.md."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TextIO

BUSY = 0.5
"""A process or a store's node is planned to be busy half of the time: beyond, latency grows (docs/latency.md)."""
RECORDS_A_BATCH = 2_048
REQUESTS_A_BATCH = 64
SHARDS_A_NODE = 2
PARTITIONS_A_MEMBER = 2
LEAST_PARTITIONS = 4
FILLED = 0.6
"""Of a node's memory: allocations waste some, and a background save or a new replica needs room."""
MOST_SHARDS, MOST_PARTITIONS = 4_096, 10_000
"""What the settings allow."""
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds of one core, and bytes; measured on the machine of docs/capacity.md.

    Attributes:
        event, event_commit: an event in the worker, and what a commit of one shard costs beside its events.
        event_bus: an event's decoding and the Kafka client (docs/ingest.md).
        store_event, store_commit: the same two in the store.
        request, request_batch: a request in the scorer, and what a micro-batch costs beside its requests.
        request_shard, request_mark: what a micro-batch costs for each shard beyond the first, and each watermark.
        request_bus: a request's and its answer's Kafka client (docs/latency.md, confluent).
        store_request, store_batch, store_shard, store_mark: the same four in the store.
        user_bytes, item_bytes: of the store, for a user with a mean of 16 numbers, and a seen item (docs/memory.md).
    """

    event: float
    event_commit: float
    event_bus: float
    store_event: float
    store_commit: float
    request: float
    request_batch: float
    request_shard: float
    request_mark: float
    request_bus: float
    store_request: float
    store_batch: float
    store_shard: float
    store_mark: float
    user_bytes: float
    item_bytes: float


MEASURED = Costs(
    event=11.0,
    event_commit=501,
    event_bus=2.9,
    store_event=25.9,
    store_commit=150,
    request=78.1,
    request_batch=341,
    request_shard=113,
    request_mark=8.4,
    request_bus=4.8,
    store_request=7.7,
    store_batch=61,
    store_shard=48,
    store_mark=2.4,
    user_bytes=260,
    item_bytes=20.7,
)
"""`python -m benchmarks.scaling --json`, and what the other benchmarks found of the bus and of memory."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in.

    Attributes:
        events: ratings a second.
        users: with a ledger.
        requests: a second.
        seen: items that a user rated, on average.
        node_gib: memory of a node of the store.
    """

    events: float
    users: float
    requests: float
    seen: float = 100
    node_gib: float = 64


@dataclass(frozen=True, slots=True)
class Needs:
    """What a load needs, busy half of the time.

    Attributes:
        partitions: of `ratings` and `requests`.
        workers, scorers: processes, a core each.
        nodes: primaries of the store, a core each.
        nodes_for_memory: how many of them its memory alone would ask for.
        shards: V.
        memory_gib: of all ledgers.
        first: what is short first as the load grows: what has the least to spare.
    """

    partitions: int
    workers: int
    scorers: int
    nodes: int
    nodes_for_memory: int
    shards: int
    memory_gib: float
    first: str


def plan(load: Load, costs: Costs = MEASURED) -> Needs | None:
    """Return what a load needs; None when more of everything costs more than it brings.

    Each commit goes to every shard, and each micro-batch reads every watermark of every shard. So what an event and a
    request cost depends on V and on the partitions, which depend on how many processes there are: they are made larger
    in turn until they suffice.

    Raises:
        ValueError: a load is not above 0.
    """
    if min(load.events, load.users, load.requests, load.seen, load.node_gib) <= 0:
        raise ValueError(f"a load must be above 0, got {load}")
    memory = load.users * (costs.user_bytes + load.seen * costs.item_bytes)
    for_memory = _whole(memory / (load.node_gib * GIB * FILLED))
    shards, partitions = 1, LEAST_PARTITIONS
    while shards <= MOST_SHARDS and partitions <= MOST_PARTITIONS:
        cores = _cores(load, costs, shards, partitions)
        workers, scorers, busy_nodes = (_whole(each / BUSY) for each in cores)
        nodes = max(busy_nodes, for_memory)
        wanted = 1 if nodes == 1 else SHARDS_A_NODE * nodes
        members = max(LEAST_PARTITIONS, PARTITIONS_A_MEMBER * max(workers, scorers))
        if (wanted, members) == (shards, partitions):
            used = {
                "memory of the store": memory / (load.node_gib * GIB * FILLED * nodes),
                "workers": cores[0] / (workers * BUSY),
                "scorers": cores[1] / (scorers * BUSY),
                "the store's cores": cores[2] / (nodes * BUSY),
            }
            first = max(used, key=used.__getitem__)
            return Needs(partitions, workers, scorers, nodes, for_memory, shards, memory / GIB, first)
        shards, partitions = max(shards, wanted), max(partitions, members)
    return None


def plan_cells(load: Load, costs: Costs = MEASURED) -> tuple[int, Needs]:
    """Return how many systems must share the users, the smallest power of two that will do, and what each needs."""
    cells = 1
    while (needs := plan(replace(load, **_shares(load, cells)), costs)) is None:
        cells *= 2
    return cells, needs


def _shares(load: Load, cells: int) -> dict[str, float]:
    return {"events": load.events / cells, "users": load.users / cells, "requests": load.requests / cells}


def _cores(load: Load, costs: Costs, shards: int, partitions: int) -> tuple[float, float, float]:
    """Return the cores that workers, scorers and the store use."""
    commits = load.events * shards / RECORDS_A_BATCH
    batches = load.requests / REQUESTS_A_BATCH
    marks = shards * partitions
    worker = load.events * (costs.event + costs.event_bus) + commits * costs.event_commit
    scorer = load.requests * (costs.request + costs.request_bus) + batches * (
        costs.request_batch + (shards - 1) * costs.request_shard + marks * costs.request_mark
    )
    store = (
        load.events * costs.store_event
        + commits * costs.store_commit
        + load.requests * costs.store_request
        + batches * (costs.store_batch + (shards - 1) * costs.store_shard + marks * costs.store_mark)
    )
    return worker / 1e6, scorer / 1e6, store / 1e6


def _whole(number: float) -> int:
    return max(1, math.ceil(number))


EVENTS = (1_000, 100_000, 1_000_000)
USERS = (10_000, 1_000_000, 100_000_000)
EVENTS_A_REQUEST = 10
COLUMNS = (
    *("events/s", "users", "systems", "partitions", "workers", "scorers", "nodes", "for memory", "shards", "GiB"),
    "short first",
)


def table(costs: Costs = MEASURED) -> Iterator[str]:
    """Yield the rows of the table in the docs, as Markdown."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"| {' | '.join('---:' for _ in COLUMNS[:-1])} | --- |"
    for events, users in product(EVENTS, USERS):
        cells, needs = plan_cells(Load(events, users, events / EVENTS_A_REQUEST), costs)
        counts = (events, users, cells, needs.partitions, needs.workers, needs.scorers, needs.nodes)
        numbers = [f"{each:,}" for each in (*counts, needs.nodes_for_memory, needs.shards)]
        yield f"| {' | '.join([*numbers, f'{needs.memory_gib:,.1f}', needs.first])} |"


def print_plan(out: TextIO) -> None:
    """Write the table."""
    out.writelines(f"{row}\n" for row in table())
