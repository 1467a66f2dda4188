"""``streamrec demo``: broker, store, worker and scorer as processes of their own, and a real log through them."""

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console

from schemas.errors import StreamrecError
from schemas.events import Item, Position, RecommendationRequest
from services.admin.ask import Asker
from services.admin.bus import log_ends, open_admin
from services.admin.catalogue import publish_items
from services.admin.digest import StateDigest, state_digest
from services.admin.rate import send_rating
from services.admin.releases import publish_release
from services.cli.demo_view import DemoState, DemoView, percentiles
from services.lab.datasets import Dataset, load_dataset
from services.lab.digest import Digest, expected_digest
from services.loadtest.asking import AskingTally, RequestStream
from services.runtime.supervise import Child, Supervisor
from services.trainer.embeddings import train_embeddings
from streams.bus.topics import create_topics, require_topic
from streams.settings import UP_FILE, Settings
from streams.signals import interrupt_on_sigterm
from streams.store.clients import make_client, without_password
from streams.store.reader import StateReader, merge_watermarks

REQUESTS_PER_S = 50.0
PLAIN_WIDTH = 120
APPLY_TIMEOUT_S = 240.0
ANSWER_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0
REFRESH_S = 0.1
_PLAINTEXT: dict[str, Any] = {name: None for name in Settings.model_fields if name.startswith("kafka_")} | {
    "kafka_security_protocol": "PLAINTEXT"
}
"""The demo's own broker asks for no security, whatever the user's does."""


def run_demo(settings: Settings, once: bool, summary: Path | None, data: str) -> int:
    """Run the demo and return its exit code: 0 only when every rating was applied and every request answered rightly.

    Args:
        settings: names and models; the servers are the demo's own.
        once: end by itself, also in a terminal.
        summary: where to write the figures, as JSON; None for nowhere.
        data: name of a data set.
    """
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    try:
        with interrupt_on_sigterm(), Supervisor(UP_FILE.parent / "demo") as supervisor:
            demo = _Demo(settings, data, supervisor, console)
            figures = demo.run()
            if summary is not None:
                summary.write_text(json.dumps(figures, indent=2) + "\n")
            is_right = _is_right(figures)
            _report(console, figures, is_right)
            if sys.stdout.isatty() and not once:
                console.print("Everything stays up until Ctrl-C.", style="bold")
                supervisor.watch(threading.Event())
            return 0 if is_right else 1
    except KeyboardInterrupt:
        return 130


class _Demo:
    def __init__(self, settings: Settings, data: str, supervisor: Supervisor, console: Console) -> None:
        self._started = time.monotonic()
        self._settings = settings
        self._data = data
        self._supervisor = supervisor
        self._console = console
        self._state = DemoState()
        self._items: dict[str, Item] = {}

    def run(self) -> dict[str, Any]:
        with DemoView(self._state, self._items, self._console) as view:
            self._view = view
            dataset, expected = self._load_data()
            self._start_servers()
            self._start_processes()
            self._publish_catalogue(dataset)
            self._wait_until_ready()
            users = dataset.ratings["user_id"].unique().tolist()
            stream, first_s = self._ask_first(users)
            published, replay_s = self._replay(stream, len(dataset.ratings))
            tally = stream.finish(ANSWER_TIMEOUT_S)
            found = self._digest(dataset)
            figures = self._figures(dataset, expected, found, tally, published, replay_s, first_s)
            self._show_a_rating(users[0])
            self._step("done")
        return figures

    def _load_data(self) -> tuple[Dataset, Digest]:
        self._step("getting the data")
        dataset = load_dataset(self._data)
        self._note(f"{dataset.name}: {len(dataset.ratings):,} ratings of {len(dataset.items):,} items")
        self._note(f"licence: {dataset.licence}")
        self._items.update((item.item_id, item) for item in dataset.items)
        self._state.total = len(dataset.ratings)
        ratings = dataset.ratings[["user_id", "item_id", "rating"]].itertuples(index=False, name=None)
        return dataset, expected_digest(ratings)

    def _start_servers(self) -> None:
        self._step("starting broker and store")
        up = self._launch("up")
        ready = up.wait_for_event("up.ready")
        self._settings = Settings(**(self._settings.model_dump() | _PLAINTEXT | ready["settings"]))
        with open_admin(self._settings) as admin:
            create_topics(admin, self._settings)
            self._topic = require_topic(admin, self._settings.topic("ratings"))
        self._note(
            f"broker {ready['broker']} at {self._settings.bootstrap_servers}, "
            f"store at {without_password(self._settings.redis_url)}"
        )

    def _start_processes(self) -> None:
        self._worker = self._launch("worker")
        self._scorer = self._launch("scorer")

    def _publish_catalogue(self, dataset: Dataset) -> None:
        self._step("publishing the items, training their embeddings")
        count = publish_items(self._settings, dataset.items)
        trained = train_embeddings(dataset.items, model_dir=self._settings.model_dir, name=self._settings.embedding)
        publish_release(self._settings, trained.release)
        loss = trained.release.metrics["validation_loss"]
        self._note(
            f"{count:,} items on {self._settings.topic('items')}; {trained.release.label} trained in "
            f"{trained.seconds:.1f} s, validation loss {loss:.4f}"
        )

    def _wait_until_ready(self) -> None:
        self._step("waiting for worker and scorer")
        self._worker.wait_for_event("worker.ready")
        self._scorer.wait_for_event("scorer.ready")
        self._note(f"worker (process {self._worker.pid}) and scorer (process {self._scorer.pid}) are ready")

    def _ask_first(self, users: list[str]) -> tuple[RequestStream, float]:
        draws = random.Random(self._settings.seed)  # noqa: S311 - whom to ask for, nothing more
        stream = RequestStream(self._settings, REQUESTS_PER_S, lambda: draws.choice(users))
        stream.start()
        self._state.tally = stream.tally
        self._wait(lambda: stream.tally.last is not None, ANSWER_TIMEOUT_S, "a first recommendation")
        first_s = time.monotonic() - self._started
        self._note(f"first recommendation after {first_s:.1f} s")
        return stream, first_s

    def _replay(self, stream: RequestStream, total: int) -> tuple[int, float]:
        self._step("replaying the ratings")
        client = make_client(self._settings)
        reader = StateReader(
            client, self._settings.namespace, self._settings.shards, self._topic.topic_id, self._topic.partitions
        )
        replay = self._launch("replay", "ratings", self._data)
        started = time.monotonic()

        def is_applied() -> bool:
            if replay.returncode not in {None, 0}:
                raise StreamrecError(f"the replay failed with exit code {replay.returncode}, see {replay.log_path}")
            self._state.applied = sum(merge_watermarks(reader.read([], all_shards=True).shards).values())
            self._state.rate = self._state.applied / (time.monotonic() - started)
            if stream.tally.last is not None:
                self._state.age_ms = stream.tally.last.state.watermark_age_ms
            stream.check()
            return self._state.applied >= total

        try:
            self._wait(is_applied, APPLY_TIMEOUT_S, "every rating to be applied")
        finally:
            client.close()
        seconds = time.monotonic() - started
        replay.wait(END_TIMEOUT_S)
        replay.stop()
        published = sum(log_ends(self._settings, self._topic).values())
        return published, seconds

    def _digest(self, dataset: Dataset) -> StateDigest:
        self._step("comparing the state with the file")
        client = make_client(self._settings)
        try:
            return state_digest(client, self._settings, [item.item_id for item in dataset.items])
        finally:
            client.close()

    def _show_a_rating(self, user_id: str) -> None:
        """Show one user's list, rate its first item low, and show the list that knows of it."""
        self._step("one rating, read back at once")
        with Asker(self._settings) as asker:
            before = asker.ask(_request(user_id), ANSWER_TIMEOUT_S)
            disliked = before.items[0].item_id
            place = send_rating(self._settings, user_id, disliked, self._settings.rating_min)
            seen = Position(partition=place.partition, offset=place.offset)
            after = asker.ask(_request(user_id, seen), ANSWER_TIMEOUT_S)
        title = self._items[disliked].title if disliked in self._items else disliked
        self._state.lists.append((f"user {user_id}, {before.state.t} ratings known", before))
        self._state.lists.append(
            (f"the same user after rating {title!r} {self._settings.rating_min:g}, {after.state.t} known", after)
        )

    def _figures(
        self,
        dataset: Dataset,
        expected: Digest,
        found: StateDigest,
        tally: AskingTally,
        published: int,
        replay_s: float,
        first_s: float,
    ) -> dict[str, Any]:
        with open_admin(self._settings) as admin:
            letters = [require_topic(admin, self._settings.topic(role)) for role in ("ratings.dlq", "requests.dlq")]
        p50, p99 = percentiles(tally.latencies_ms) or (None, None)
        return {
            "data": dataset.name,
            "ratings_published": published,
            "ratings_applied": found.events,
            "users": found.users,
            "items": len(dataset.items),
            "requests_sent": tally.sent,
            "requests_answered": tally.answered,
            "answers_with_errors": tally.errors,
            "dead_letters": sum(sum(log_ends(self._settings, topic).values()) for topic in letters),
            "state_digest": found.state,
            "expected_digest": expected.state,
            "statistics_digest": found.statistics,
            "expected_statistics_digest": expected.statistics,
            "ingest_events_per_s": round(found.events / replay_s, 1),
            "latency_ms": {"p50": p50, "p99": p99},
            "seconds_to_first_recommendation": round(first_s, 2),
            "seconds": round(time.monotonic() - self._started, 2),
            "expected_ratings": expected.events,
        }

    def _launch(self, command: str, *arguments: str) -> Child:
        environment = {
            f"STREAMREC_{name.upper()}": str(value)
            for name, value in self._settings.model_dump(exclude_defaults=True, exclude_none=True).items()
        }
        argv = [sys.executable, "-m", "services.cli.main", command, *arguments]
        return self._supervisor.launch(command, argv, environment)

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise StreamrecError(f"waited {timeout_s:g} s for {what}; see the logs in {UP_FILE.parent / 'demo'}")
            for child in (self._worker, self._scorer):
                child.check()
            self._view.refresh()
            time.sleep(REFRESH_S)

    def _step(self, phase: str) -> None:
        self._state.phase = phase
        self._view.refresh()

    def _note(self, text: str) -> None:
        self._state.notes.append(text)
        self._view.refresh()


def _request(user_id: str, position: Position | None = None) -> RecommendationRequest:
    return RecommendationRequest(
        request_id=uuid4().hex, user_id=user_id, k=5, explain=True, min_position=position, deadline_ms=20_000
    )


def _is_right(figures: dict[str, Any]) -> bool:
    return bool(
        figures["ratings_published"] == figures["ratings_applied"] == figures["expected_ratings"]
        and figures["requests_sent"] == figures["requests_answered"]
        and not figures["answers_with_errors"]
        and figures["state_digest"] == figures["expected_digest"]
        and figures["statistics_digest"] == figures["expected_statistics_digest"]
    )


def _report(console: Console, figures: dict[str, Any], is_right: bool) -> None:
    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    latency = figures["latency_ms"]
    say(
        f"{figures['ratings_applied']:,} of {figures['ratings_published']:,} ratings applied "
        f"({figures['ingest_events_per_s']:,.0f} a second), {figures['requests_answered']:,} of "
        f"{figures['requests_sent']:,} requests answered (p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms), "
        f"{figures['dead_letters']} dead letters, in {figures['seconds']:.0f} s"
    )
    if is_right:
        say(f"the state equals the file, rating for rating: digest {figures['state_digest'][:16]}…", "green")
    else:
        say("the state does NOT equal the file, or requests went unanswered: see the figures", "bold red")
    say("try next, from this directory while a demo or `streamrec up` runs:")
    for command in ("recommend 196 --k 10", "rate 196 242 5", "doctor"):
        say(f"  {Path(sys.argv[0]).parent / 'streamrec'} {command}")
