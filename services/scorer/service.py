"""The scorer process: wiring, readiness, and a clean end."""

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import structlog

from recommender.policies import POLICIES, POLICY_MODELS, prepare_search, read_policy_model
from schemas.errors import StoreUnavailable
from schemas.topics import TopicRole
from services.scorer import metrics
from services.scorer.answer import Answerer
from services.scorer.inbox import Inbox
from services.scorer.outbox import Outbox
from services.scorer.ports import RequestSource
from services.scorer.routing import Routing, make_policy_settings
from services.scorer.scoring import Scorer
from services.scorer.state import StateSource
from services.scorer.vitals import Vitals
from services.scorer.watch import CHECK_S, TopicWatch
from streams.bus.clients import make_admin, make_producer
from streams.bus.topics import TopicInfo, require_topic
from streams.catalogue import CatalogueSnapshot, LiveCatalogue
from streams.endpoint import serve_endpoint
from streams.health import Health
from streams.settings import Settings
from streams.store.clients import make_client
from streams.store.probe import open_probe
from streams.store.reader import StateReader
from streams.store.statistics import StatisticsFollower
from streams.tracing import open_tracing

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 60.0
FINISH_TIMEOUT_S = 4.0
RETRY_S = 0.2
PRODUCER_BLOCK_MS = 10_000
COLLECT_AFTER = 100_000
_READ: tuple[TopicRole, ...] = ("ratings", "requests")
_WRITTEN: tuple[TopicRole, ...] = ("recommendations", "requests.dlq")


def run_scorer(settings: Settings, stop: threading.Event) -> None:
    """Answer requests until ``stop`` is set; then answer what is in hand, commit and return.

    Logs ``scorer.ready`` once the catalogue and the statistics are loaded, the group has met, and every policy has
    scored once.

    Raises:
        ConfigurationError: a server does not answer, a topic is missing or was made again, or the policy is unknown.
        StreamrecError: the broker refuses answers or offsets, or reading the catalogue failed.
    """
    policy_settings = make_policy_settings(settings)
    answerer = Answerer(
        Routing(settings.policy_weights, policy_settings, settings.seed), policy_settings, settings.seed
    )
    with contextlib.ExitStack() as cleanup:
        health = cleanup.enter_context(serve_endpoint(settings, "scorer"))
        spans = cleanup.enter_context(open_tracing(settings, "scorer"))
        cleanup.enter_context(_collecting_seldom())
        health.begin("connecting to the broker")
        admin = make_admin(settings)
        cleanup.callback(admin.close)
        ratings, requests = (require_topic(admin, settings.topic(role)) for role in _READ)
        answers, letters = (require_topic(admin, settings.topic(role)) for role in _WRITTEN)
        read = partial(read_policy_model, scale=(settings.rating_min, settings.rating_max))
        catalogue = LiveCatalogue(settings, admin, _prepare, tuple(POLICY_MODELS), read)
        cleanup.callback(catalogue.stop)
        catalogue.start()
        health.begin("loading the catalogue")
        catalogue.wait_until_ready(START_TIMEOUT_S)
        health.begin("loading the statistics and joining the group")
        states = _make_states(settings, ratings, cleanup)
        inbox, outbox = _connect(settings, answers.name, letters.name)
        cleanup.callback(outbox.close, 1.0)
        scorer = Scorer(inbox, outbox, states, answerer, lambda: catalogue.current.catalogue, requests, spans=spans)
        vitals = Vitals(scorer, inbox, health)
        with _finishing(scorer, inbox, health):

            def load() -> None:
                states.check_scale(settings.rating_scale)
                scorer.warm_up(POLICIES)

            _warm_up(load, stop)
            watch = TopicWatch(admin, (ratings, requests), states)
            cleanup.callback(watch.stop)
            watch.start()
            probe = cleanup.enter_context(open_probe(settings, ratings))
            metrics.STATE_AGES.look = probe.ages_s
            for check in (probe.faults, vitals.faults, lambda: _silence(watch, settings.stalled_after_s)):
                health.watch(check)
            _serve(scorer, inbox, (vitals.note, watch.check, catalogue.check), health, stop)
    log.info("scorer.stopped")


def _prepare(snapshot: CatalogueSnapshot) -> None:
    prepare_search(snapshot.catalogue)


def _connect(settings: Settings, answers: str, letters: str) -> tuple[RequestSource, Outbox]:
    if settings.scorer_client == "confluent":
        # An extra; the scorer's own module says so where it is missing.
        from services.scorer.librdkafka import LibrdkafkaInbox, LibrdkafkaOutbox  # noqa: PLC0415
        from streams.bus.librdkafka import make_librdkafka_producer  # noqa: PLC0415

        outbox: Outbox = LibrdkafkaOutbox(make_librdkafka_producer(settings), answers, letters)
        return LibrdkafkaInbox(settings), outbox
    producer = make_producer(settings, linger_ms=0, max_block_ms=PRODUCER_BLOCK_MS)
    return Inbox(settings), Outbox(producer, answers, letters)


def _serve(
    scorer: Scorer, inbox: RequestSource, checks: Sequence[Callable[[], None]], health: Health, stop: threading.Event
) -> None:
    is_ready = False
    while not stop.is_set():
        scorer.step()
        for check in checks:
            check()
        if inbox.is_assigned and not is_ready:
            is_ready = True
            gc.freeze()
            health.begin("")
            log.info("scorer.ready")


@contextlib.contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Look for cyclic garbage seldom, and never among what was there when ready: answers make none."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@contextlib.contextmanager
def _finishing(scorer: Scorer, inbox: RequestSource, health: Health) -> Iterator[None]:
    """Answer and commit at a clean end; on a failure leave the group without committing."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            inbox.close({}, 1.0)
        raise
    log.info("scorer.stopping")
    health.begin("stopping")
    scorer.finish(FINISH_TIMEOUT_S)


def _silence(watch: TopicWatch, patience_s: float) -> list[str]:
    """Return that the broker has been silent for longer than it is asked what topics there are."""
    is_silent = watch.age_s > CHECK_S + patience_s
    return (
        [f"the broker, asked for topics every {CHECK_S:.0f} s, answered {watch.age_s:.0f} s ago"] if is_silent else []
    )


def _make_states(settings: Settings, ratings: TopicInfo, cleanup: contextlib.ExitStack) -> StateSource:
    client = make_client(settings)
    cleanup.callback(client.close)
    reader = StateReader(client, settings.namespace, settings.shards, ratings.topic_id, ratings.partitions)
    return StateSource(reader, StatisticsFollower(client, reader), ratings.topic_id)


def _warm_up(load: Callable[[], object], stop: threading.Event) -> None:
    """Check the state, load the statistics and score once, however long the store takes to come up.

    Raises:
        StoreUnavailable: it did not within the time to start.
        StateMismatch: the state was made with another scale.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while not stop.is_set():
        try:
            load()
        except StoreUnavailable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("store.unavailable", error=str(error))
            stop.wait(RETRY_S)
        else:
            return
