"""The scorer's hot path by Kafka client: requests consumed, answers of 2 KB produced and acknowledged, nothing scored.

Each client is a process of its own that reads the same log of requests from its start, in a group of its own, and takes
its turn, five times. A rate counts from the first acknowledged answers to the last. Beside it stands the processor time
that a message took in the client's process, all its threads together, and, in the last row, what a request takes in
`streamrec scorer` with 1,000 items: what the client is a part of.
"""

import argparse
import os
import statistics
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Row, add_arguments, report
from benchmarks.ingest import REPEATS, brokers
from benchmarks.ingest_sides.log import fill_topic, load_records
from benchmarks.ingest_sides.stage import READY_TIMEOUT_S, RUN_TIMEOUT_S, Run, Servers
from benchmarks.latency import ALL_AT_ONCE, FIRST_BURST, OURS, Asked, Side, argv
from benchmarks.latency_sides.client_loop import CLIENTS
from benchmarks.latency_sides.world import keep_requests, make_world
from services.admin.bus import open_admin
from streams.bus.topics import create_topics
from streams.settings import Settings

PACKAGES = ("kafka-python", "aiokafka", "confluent-kafka")
MESSAGES, QUICK_MESSAGES = 200_000, 60_000
SCORED, QUICK_SCORED = 20_000, 8_000
ITEMS = 1_000


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    add_arguments(parser)
    default = "kafka" if os.environ.get("KAFKA_HOME") else "embedded"
    parser.add_argument("--broker", choices=("kafka", "embedded"), default=default, help="which broker")
    arguments = parser.parse_args()
    broker, home = brokers(arguments.broker)[0]
    with (
        tempfile.TemporaryDirectory(prefix="streamrec-clients-") as directory,
        Servers(Path(directory) / "run", home) as servers,
    ):
        runs = _measure_clients(servers, is_quick=arguments.quick)
        scored = _measure_scorer(servers, is_quick=arguments.quick)
    rows: list[Row] = [_row(name, broker, own) for name, own in runs.items()]
    rows.append(_row("streamrec scorer, 1k items", broker, scored))
    own = runs["kafka-python"]
    ratios = {
        f"{name.replace('-', '_')}_vs_kafka_python": statistics.median(
            other.rate / mine.rate for other, mine in zip(runs[name], own, strict=True)
        )
        for name in runs
        if name != "kafka-python"
    }
    report("clients", rows, ratios, packages=PACKAGES, as_json=arguments.json)


def _measure_clients(servers: Servers, *, is_quick: bool) -> dict[str, list[Run]]:
    messages = QUICK_MESSAGES if is_quick else MESSAGES
    settings = servers.make_settings("clients", topic_prefix="clients.")
    with open_admin(settings) as admin:
        create_topics(admin, settings)
    kept = servers.directory / "requests"
    keep_requests(kept, messages, 1)
    fill_topic(servers.broker.url, settings.topic("requests"), load_records(kept))
    runs: dict[str, list[Run]] = {name: [] for name in CLIENTS}
    for _ in range(2 if is_quick else REPEATS):
        for name, own in runs.items():
            own.append(_run_client(servers, settings, name, messages))
            print(f"  {name}: {own[-1].rate:,.0f}/s", file=sys.stderr, flush=True)
    return runs


def _run_client(servers: Servers, settings: Settings, name: str, messages: int) -> Run:
    group = f"{name}-{uuid.uuid4().hex[:6]}"
    where = [servers.broker.url, settings.topic("requests"), settings.topic("recommendations"), group, str(messages)]
    with servers.child(group, argv("latency_sides.client_loop", [name, *where]), settings, grace_s=0.0) as child:
        child.wait_for_event("side.began", READY_TIMEOUT_S)
        measured = servers.cores_used(side=[child])
        done = child.wait_for_event("side.done", RUN_TIMEOUT_S)
        return Run(float(done["rate"]), measured())


def _measure_scorer(servers: Servers, *, is_quick: bool) -> list[Run]:
    settings = servers.make_settings("n1k", topic_prefix="n1k.")
    make_world(settings, ITEMS)
    with servers.child("scorer", argv("latency_sides.watched_scorer"), settings) as child:
        child.wait_for_event("scorer.ready", READY_TIMEOUT_S)
        side = Side(servers, OURS, child, settings)
        side.ask(ALL_AT_ONCE, FIRST_BURST)
        runs = [side.ask(ALL_AT_ONCE, QUICK_SCORED if is_quick else SCORED) for _ in range(2 if is_quick else REPEATS)]
    return [_as_run(run) for run in runs]


def _as_run(asked: Asked) -> Run:
    return Run(asked.burst_rate, {"side": asked.cores["scorer"], "broker": asked.cores["broker"]})


def _row(side: str, broker: str, runs: Sequence[Run]) -> Row:
    rates = [run.rate for run in runs]
    return {
        "side": side,
        "broker": broker,
        "median_per_s": round(statistics.median(rates)),
        "lowest_per_s": round(min(rates)),
        "highest_per_s": round(max(rates)),
        "cores": round(statistics.median(run.cores["side"] for run in runs), 2),
        "cpu_us": round(statistics.median(run.cores["side"] / run.rate for run in runs) * 1e6, 1),
        "broker_cores": round(statistics.median(run.cores["broker"] for run in runs), 2),
    }


if __name__ == "__main__":
    main()
