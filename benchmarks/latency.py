"""How soon a request is answered, against offered load, by catalogues of 1k, 100k and 1M items (16 numbers a vector).

A generator (a process of its own) sends requests on a schedule that waits for nothing, encoded beforehand, every
millisecond what is due; a listener (another) notes when bytes come on the topic of answers and looks at them after the
run. A request's latency is from the time it was due, however late it went out, to its answer's arrival; requests due in
a run's first second do not count. Every request is answered in the end, or named as unanswered.

A change of the catalogue is timed too: from the acknowledgement of a new item to the first answer that has it, asked
for over and over on an idle bus.

Saturation comes first: answers a second while twice of what can be answered is on offer. Loads are shares of each
side's own. What is expired when it is read must cost little: that rate is measured too.

`streamrec scorer` stands beside a scorer that does one request at a time by the same policy code, and beside what the
bus alone takes at our loads, every request answered at once and with no state; all are there all the time, and take
turns.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from hdrh.histogram import HdrHistogram

from benchmarks.harness import Row, add_arguments, report
from benchmarks.ingest import REPEATS, brokers
from benchmarks.ingest_sides.stage import READY_TIMEOUT_S, RUN_TIMEOUT_S, Servers, go, wait_for_event
from benchmarks.latency_sides.answers import read_answers
from benchmarks.latency_sides.watched_scorer import ASK
from benchmarks.latency_sides.world import DEADLINE_MS, keep_requests, make_world, number_of
from schemas.codec import encode
from schemas.errors import StreamrecError
from schemas.events import Item, RecommendationRequest
from services.admin.ask import Asker
from services.admin.bus import log_ends, open_admin
from services.runtime.supervise import Child
from streams.bus.clients import make_producer
from streams.bus.topics import TopicInfo, create_topics, require_topic
from streams.settings import Settings

PACKAGES = ("kafka-python", "confluent-kafka", "redis", "hiredis", "msgspec", "numpy", "hdrhistogram")
SCORER_CLIENTS = ("kafka-python", "confluent")
SIZES = {"1k": 1_000, "100k": 100_000, "1M": 1_000_000}
LEVELS = (0.1, 0.25, 0.5, 0.8)
SHARES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
OURS, PLAIN, BUS = "ours", "plain", "bus alone"
SECONDS, QUICK_SECONDS = 10.0, 4.0
OFFERED_S = 4.0
WARM_S = 1.0
FIRST_BURST = 1_000
CLEARLY_MORE = 1.25
EXPIRED = 10_000
TICK_S = 0.001
LONGEST_S = 600.0
ALL_AT_ONCE = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """When each request of a run was due and its answer came, seconds on one clock.

    Attributes:
        due: by request.
        arrived: by request; NaN where no answer came.
        ended: when the last request was sent.
        repeats: answers that had come before.
        errors: answers without items, by code.
        cores: cores used by each process and by all others, from the first request sent to the last answer.
        batch: requests of a micro-batch, the mean; 0 where there are none.
    """

    due: np.ndarray
    arrived: np.ndarray
    ended: float
    repeats: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    cores: Mapping[str, float] = field(default_factory=dict)
    batch: float = 1.0

    @property
    def unanswered(self) -> list[int]:
        """The numbers of the requests without an answer."""
        return np.flatnonzero(np.isnan(self.arrived)).tolist()

    @property
    def rate(self) -> float:
        """Answers a second, between the run's first second and the last request sent."""
        begin = self.due[0] + WARM_S
        counted = (self.arrived > begin) & (self.arrived <= self.ended)
        return float(counted.sum()) / (self.ended - begin)

    @property
    def burst_rate(self) -> float:
        """Answers a second, from the first to the last."""
        return (len(self.due) - 1) / float(np.nanmax(self.arrived) - np.nanmin(self.arrived))

    def histogram(self) -> HdrHistogram:
        """Return the latencies in microseconds of the requests due after the run's first second; three digits."""
        found = HdrHistogram(1, int(LONGEST_S * 1e6), 3)
        for latency in (self.arrived - self.due)[self.due >= self.due[0] + WARM_S]:
            if not np.isnan(latency):
                found.record_value(max(1, int(latency * 1e6)))
        return found

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of the latency."""
        return float(self.histogram().get_value_at_percentile(share)) / 1000


class Side:
    """One scorer: its process, topics of its own, and how it is asked.

    Args:
        servers: broker and store.
        name: of the side.
        child: its process.
        settings: names its topics.
    """

    def __init__(self, servers: Servers, name: str, child: Child, settings: Settings) -> None:
        self.name = name
        self._servers = servers
        self._child = child
        self._settings = settings
        self._runs = 0
        self._batches_asked = 0
        with open_admin(settings) as admin:
            self._answers: TopicInfo = require_topic(admin, settings.topic("recommendations"))

    def ask(self, rate: float, requests: int, deadline_ms: int = DEADLINE_MS) -> Asked:
        """Send requests on schedule, and return when each was due and answered."""
        self._runs += 1
        name = f"{self._settings.namespace}-{self.name}-{self._runs}"
        asked, sent, came = (self._servers.directory / f"{name}.{kind}" for kind in ("requests", "sent.npz", "answers"))
        keep_requests(asked, requests, self._runs, deadline_ms)
        servers, topic = self._settings.bootstrap_servers, self._settings.topic("requests")
        ends = log_ends(self._settings, self._answers)
        sending = [servers, topic, str(asked), str(rate), str(requests), str(sent), str(TICK_S)]
        listening = [servers, self._answers.name, str(requests), str(came), *(str(ends[own]) for own in sorted(ends))]
        with ExitStack() as stack:
            generator, listener = (
                stack.enter_context(self._servers.child(f"{name}-{module[0]}", argv(*module), self._settings))
                for module in (
                    ("ingest_sides.open_loop", sending),
                    ("latency_sides.answers", listening),
                )
            )
            for child in (generator, listener):
                child.wait_for_event("side.ready", READY_TIMEOUT_S)
            before = self._batches()
            measured = self._servers.cores_used(scorer=[self._child], generator=[generator], listener=[listener])
            began, busy_s = time.monotonic(), _busy_s()
            go(generator)
            listener.wait_for_event("side.seen", RUN_TIMEOUT_S)
            cores = measured()
            cores["others"] = max(0.0, (_busy_s() - busy_s) / (time.monotonic() - began) - sum(cores.values()))
            after = self._batches()
            for child in (generator, listener):
                go(child)
                child.wait_for_event("side.done", READY_TIMEOUT_S)
        with np.load(sent) as own:
            arrived, repeats, errors = match(own["due"], came)
            batch = (after[1] - before[1]) / max(1.0, after[0] - before[0])
            run = Asked(own["due"], arrived, float(own["ended"]), repeats, errors, cores, batch)
        for path in (asked, sent, came):
            path.unlink()
        return run

    def saturate(self, seconds: float, tries: int) -> float:
        """Return answers a second while clearly more is on offer, the median of some tries."""
        offered = 2 * self.ask(ALL_AT_ONCE, FIRST_BURST).burst_rate
        found: list[float] = []
        while len(found) < tries:
            rate = self.ask(offered, int(offered * (WARM_S + seconds))).rate
            if CLEARLY_MORE * rate > offered:
                offered, found = 2 * offered, []
            else:
                found.append(rate)
        _say(f"{self.name} saturates at {', '.join(f'{rate:,.0f}' for rate in found)}/s")
        return statistics.median(found)

    def until_answered_s(self, item_id: str) -> float:
        """Publish a new item, and return the seconds until an answer has it.

        Raises:
            StreamrecError: no answer has it in time.
        """
        with closing(make_producer(self._settings, linger_ms=0)) as producer, Asker(self._settings) as asker:
            value = encode(Item(item_id=item_id, title="New", genres=("Drama",), year=2026))
            producer.send(self._settings.topic("items"), key=item_id.encode(), value=value).get(READY_TIMEOUT_S)
            began = time.monotonic()
            while time.monotonic() - began < READY_TIMEOUT_S:
                asked = f"{item_id}-{time.monotonic_ns()}"
                answer = asker.ask(
                    RecommendationRequest(request_id=asked, user_id="nobody", candidates=(item_id,)), READY_TIMEOUT_S
                )
                if answer.items:
                    return time.monotonic() - began
        raise StreamrecError(f"no answer has item {item_id!r} within {READY_TIMEOUT_S:g} s")

    def _batches(self) -> tuple[float, float]:
        """Return how many batches and requests the scorer has answered."""
        if self.name != OURS:
            return 0.0, 0.0
        self._batches_asked += 1
        os.kill(self._child.pid, ASK)
        told = wait_for_event(self._child, "side.batches", self._batches_asked, READY_TIMEOUT_S)
        return told["batches"], told["requests"]


def match(due: np.ndarray, came: Path) -> tuple[np.ndarray, int, Counter[str]]:
    """Return when each request's first answer came, how many came again, and the errors by code."""
    arrived = np.full(len(due), np.nan)
    repeats, errors = 0, Counter[str]()
    for arrived_s, answer in read_answers(came):
        number = number_of(answer.request_id)
        if not np.isnan(arrived[number]):
            repeats += 1
            continue
        arrived[number] = arrived_s
        if answer.error is not None:
            errors[answer.error.code] += 1
    return arrived, repeats, errors


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def argv(module: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return the command that runs a module of the benchmarks."""
    return [sys.executable, "-m", f"benchmarks.{module}", *arguments]


@contextmanager
def sides(servers: Servers, size: str, client: str) -> Iterator[list[Side]]:
    """Make a catalogue of a size and run the sides beside it, our scorer on a Kafka client.

    Raises:
        StreamrecError: that cannot be done here.
    """
    ours = servers.make_settings(f"n{size}", topic_prefix=f"n{size}.", scorer_client=client)
    began = time.monotonic()
    make_world(ours, SIZES[size])
    _say(f"{size} items after {time.monotonic() - began:.0f} s")
    plain, bus = (_with_topics(ours, f"n{size}.{name}.") for name in ("plain", "bus"))
    with (
        servers.child(f"ours-{size}", argv("latency_sides.watched_scorer"), ours) as scorer,
        servers.child(f"plain-{size}", argv("latency_sides.plain_scorer"), plain, grace_s=0.0) as other,
        servers.child(f"bus-{size}", argv("latency_sides.echo"), bus, grace_s=0.0) as echo,
    ):
        scorer.wait_for_event("scorer.ready", RUN_TIMEOUT_S)
        for child in (other, echo):
            child.wait_for_event("side.ready", RUN_TIMEOUT_S)
        _say(f"all sides are ready after {time.monotonic() - began:.0f} s")
        yield [Side(servers, OURS, scorer, ours), Side(servers, PLAIN, other, plain), Side(servers, BUS, echo, bus)]


def _with_topics(settings: Settings, prefix: str) -> Settings:
    """Return the settings with topics of requests and answers of their own, which are made."""
    own = settings.model_copy(update={f"topic_{role}": f"{prefix}{role}" for role in ("requests", "recommendations")})
    with open_admin(own) as admin:
        create_topics(admin, own)
    return own


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--broker", choices=("kafka", "embedded", "both"), default="both", help="which broker")
    parser.add_argument("--items", default=",".join(SIZES), help=f"sizes of the catalogue, of {', '.join(SIZES)}")
    parser.add_argument("--client", choices=SCORER_CLIENTS, default=SCORER_CLIENTS[0], help="our scorer's Kafka client")
    parser.add_argument("--repeats", type=int, default=0, help=f"how often; {REPEATS} by default, 2 with --quick")
    arguments = parser.parse_args()
    wanted = arguments.items.split(",")
    if unknown := set(wanted) - set(SIZES):
        parser.error(f"--items must be of {', '.join(SIZES)}, got {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    left_out = []
    on = brokers(arguments.broker)
    for broker, home in on:
        suffix = "" if broker == on[0][0] else f", {broker}"
        with (
            tempfile.TemporaryDirectory(prefix="streamrec-latency-") as directory,
            Servers(Path(directory) / "run", home) as servers,
        ):
            for size in wanted:
                try:
                    with sides(servers, size, arguments.client) as all_sides:
                        found, others = _measure(all_sides, arguments)
                except StreamrecError as error:
                    left_out.append(f"{size} items on {broker}: {error}")
                    _say(left_out[-1])
                    continue
                rows += [_row(broker, size, arguments.client, *each) for each in found]
                figures = _ratios(size, found) | {f"{name}_{size}": figure for name, figure in others.items()}
                ratios |= {f"{name}{suffix}": figure for name, figure in figures.items()}
    note = "" if not left_out else f"Left out: {'; '.join(left_out)}"
    if not rows:
        sys.exit(note)
    report("latency", rows, ratios, packages=PACKAGES, as_json=arguments.json, note=note)


Found = tuple[str, float, float, list[Asked]]
"""Name of the side, its saturation, the share of it that was offered, and the runs."""


def _measure(all_sides: Sequence[Side], arguments: argparse.Namespace) -> tuple[list[Found], dict[str, float]]:
    """Return what was found, and how fast what is expired is refused and a new item answered."""
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    repeats = arguments.repeats or (2 if arguments.quick else REPEATS)
    ours, plain, _ = all_sides
    saturation = {
        side.name: side.saturate(OFFERED_S / 2 if arguments.quick else OFFERED_S, 3) for side in (ours, plain)
    }
    saturation[BUS] = saturation[OURS]
    expired = ours.ask(ALL_AT_ONCE, EXPIRED, deadline_ms=1)
    assert sum(expired.errors.values()) == len(expired.due)
    _say(f"what is expired is answered at {expired.burst_rate:,.0f}/s")
    runs: dict[tuple[str, float], list[Asked]] = {}
    for _ in range(repeats):
        for level in LEVELS:
            for side in all_sides:
                rate = level * saturation[side.name]
                run = side.ask(rate, int(rate * (WARM_S + seconds)) + 1)
                runs.setdefault((side.name, level), []).append(run)
                shown = ", ".join(f"{name} {run.percentile_ms(share):.1f}" for name, share in SHARES.items())
                _say(f"{side.name} at {level:.0%} of {saturation[side.name]:,.0f}/s: {shown} ms")
                if run.unanswered or run.errors:
                    _say(f"unanswered: {run.unanswered[:10]}; errors: {dict(run.errors)}")
    found = [(name, saturation[name], level, own) for (name, level), own in runs.items()]
    changes = [ours.until_answered_s(f"new{number}") for number in range(repeats)]
    _say(f"a new item is answered after {', '.join(f'{seconds:.2f}' for seconds in changes)} s")
    return found, {
        "expired_vs_saturation": expired.burst_rate / saturation[OURS],
        "new_item_s": statistics.median(changes),
        "new_item_s_highest": max(changes),
    }


def _row(broker: str, size: str, client: str, side: str, saturation: float, level: float, runs: Sequence[Asked]) -> Row:
    row: dict[str, object] = {
        "items": size,
        "side": f"{side}, {client}" if side == OURS else side,
        "broker": broker,
        "load": f"{level:.0%}",
        "per_s": round(level * saturation),
    }
    for name, share in SHARES.items():
        found = [run.percentile_ms(share) for run in runs]
        row[f"{name}_ms"] = round(statistics.median(found), 2)
        if name == "p99":
            row |= {"p99_lowest": round(min(found), 2), "p99_highest": round(max(found), 2)}
    row["batch"] = round(statistics.median(run.batch for run in runs), 1)
    for name in runs[0].cores:
        row[f"{name}_cores"] = round(statistics.median(run.cores[name] for run in runs), 2)
    row["requests"] = sum(len(run.due) for run in runs)
    row["unanswered"] = sum(len(run.unanswered) for run in runs)
    row["errors"] = sum(sum(run.errors.values()) for run in runs)
    row["repeats"] = sum(run.repeats for run in runs)
    return row


def _ratios(size: str, found: Sequence[Found]) -> dict[str, float]:
    saturation = {name: figure for name, figure, _, _ in found}
    half = {
        name: statistics.median(run.percentile_ms(99) for run in runs) for name, _, level, runs in found if level == 0.5
    }
    return {
        f"p99_ms_at_half_{size}": half[OURS],
        f"plain_p99_ms_at_half_{size}": half[PLAIN],
        f"bus_p99_ms_at_half_{size}": half[BUS],
        f"saturation_per_s_{size}": saturation[OURS],
        f"plain_saturation_per_s_{size}": saturation[PLAIN],
        f"saturation_vs_plain_{size}": saturation[OURS] / saturation[PLAIN],
    }


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
