"""The whole scorer on real servers: requests in, answers out."""

import threading
import time
import uuid

import msgspec
import numpy as np
import pytest

from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.embeddings.model import EmbeddingModel
from recommender.policies import POLICIES
from schemas.codec import encode
from schemas.errors import ConfigurationError
from schemas.events import Item, Position, RecommendationRequest, Timing
from services.scorer.service import run_scorer
from streams.bus.clients import make_admin
from streams.bus.topics import create_topics
from streams.catalogue import LiveCatalogue
from streams.models.releases import save_release
from streams.settings import Settings
from tests.policy_models import MODELS
from tests.services.scorer.stage import Stage, running_scorer
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

CLIENTS = ("kafka-python", "confluent")
ITEMS = 40
USERS = 12


def make_model():
    rng = np.random.default_rng(3)
    layer = Layer(rng.normal(size=(4, 3)).astype(np.float32), np.zeros(4, np.float32))
    names = tuple(f"i{row}" for row in range(ITEMS))
    features = FeatureEncoder(genres=("Comedy", "Drama"), years=(1990,))
    return EmbeddingModel("pca", names, rng.normal(size=(ITEMS, 4)), features, (layer,))


def describe(row):
    return Item(item_id=f"i{row}", title=f"Title {row}", genres=("Drama" if row % 2 else "Comedy",), year=1980 + row)


@pytest.fixture(scope="module", params=CLIENTS)
def own_settings(request, broker, store, tmp_path_factory):
    unique = uuid.uuid4().hex[:10]
    return Settings(
        bootstrap_servers=broker.url,
        redis_url=store.url,
        topic_prefix=f"{unique}.",
        namespace=f"t-{unique}",
        model_dir=str(tmp_path_factory.mktemp("models")),
        shards=2,
        fetch_wait_ms=10,
        session_timeout_s=6,
        scorer_client=request.param,
    )


@pytest.fixture(scope="module")
def stage(own_settings):
    stage = Stage(own_settings)
    stage.describe(describe(row) for row in range(ITEMS))
    release = save_release(make_model(), own_settings.model_dir, own_settings.embedding, "1")
    stage.produce("models", b"items", encode(release)).get(10)
    names = tuple(f"i{row}" for row in range(ITEMS))
    for policy, make in MODELS.items():
        model = make(names, np.random.default_rng(4).normal(size=(ITEMS, 3)))
        released = save_release(model, own_settings.model_dir, policy, "1", kind="policy")
        stage.produce("models", policy.encode(), encode(released)).get(10)
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def embedded(stage):
    catalogue = LiveCatalogue(stage.settings, stage.admin)
    catalogue.start()
    catalogue.wait_until_ready(30)
    assert catalogue.embedded.dim == 4
    yield catalogue.embedded
    catalogue.stop()


@pytest.fixture(scope="module")
def scorer(stage, embedded):
    rng = np.random.default_rng(5)
    events = [(f"u{rng.integers(USERS)}", f"i{rng.integers(ITEMS)}", float(rng.integers(1, 6))) for _ in range(200)]
    stage.rate(events, embedded)
    with running_scorer(stage.settings):
        stage.exchange(request_id="first")
        yield stage


def test_an_answer_comes_under_the_requests_key_with_every_field(scorer):
    answer = scorer.exchange(user_id="u1", k=3)
    assert (answer.user_id, answer.policy, answer.model, answer.error) == ("u1", "greedy", "items@1", None)
    assert len(answer.items) == 3
    assert answer.state.t > 0
    assert answer.state.partition == 0
    assert answer.state.applied_to == answer.state.statistics_to == {"0": answer.state.applied_to["0"]}
    assert answer.state.offset < answer.state.applied_to["0"]
    assert answer.state.watermark_age_ms >= 0
    record = next(r for r in scorer.answer_records if answer.request_id.encode() in r.value)
    assert record.key == b"u1"


def test_an_unknown_user_gets_the_items_by_their_means(scorer):
    answers = [scorer.exchange(user_id=f"nobody {number}", k=5) for number in range(2)]
    assert [item.item_id for item in answers[0].items] == [item.item_id for item in answers[1].items]
    scores = [item.score for item in answers[0].items]
    assert scores == sorted(scores, reverse=True)
    assert answers[0].state.t == 0
    assert answers[0].error is None


def test_requests_get_the_same_answers_alone_in_a_batch_and_in_another_order(scorer):
    policies = sorted(POLICIES)
    requests = [
        RecommendationRequest(
            request_id=f"same {number}",
            user_id=f"u{number % (USERS + 2)}",
            policy=policies[number % len(policies)],
            epsilon=0.5,
            k=1 + number % 7,
            exclude_seen=number % 3 > 0,
            deadline_ms=60_000,
        )
        for number in range(48)
    ]
    for request in requests:
        scorer.ask(request)
        scorer.answer(request.request_id)
    for request in reversed(requests):
        scorer.ask(request)
    wait_until(lambda: scorer._pump() or all(len(scorer.answers[r.request_id]) == 2 for r in requests))

    def stripped(answer):
        state = msgspec.structs.replace(answer.state, watermark_age_ms=None)
        return encode(msgspec.structs.replace(answer, state=state, timing=Timing(queue_ms=0, score_ms=0), ts_ms=0))

    for request in requests:
        alone, together = scorer.answers[request.request_id]
        assert alone.error is None
        assert stripped(alone) == stripped(together)


def test_an_expired_request_is_answered_as_such(scorer):
    answer = scorer.exchange(ts_ms=int(time.time() * 1000) - 10_000, deadline_ms=100)
    assert (answer.error.code, answer.items) == ("deadline_exceeded", [])


def test_bad_requests_are_answered_or_dead_lettered_and_the_next_is_served(scorer):
    sent = {
        reason: scorer.produce("requests", b"u", value).get(10)
        for reason, value in {
            "not_json": b"{",
            "not_utf8": b"\xff",
            "empty_value": None,
            "missing_field": b'{"user_id": "u"}',
            "bad_id": b'{"request_id": "", "user_id": "u"}',
        }.items()
    }
    scorer.produce("requests", b"u", b'{"request_id": "bad k", "user_id": "u", "k": 0}')
    scorer.produce("requests", b"u", b'{"request_id": "bad policy", "user_id": "u", "policy": "nobody"}')
    scorer.produce("requests", b"u", b'{"request_id": "bad filter", "user_id": "u", "filters": {"price": 1}}')
    assert scorer.exchange(user_id="u").error is None
    assert scorer.answer("bad k").error.code == "invalid_request"
    assert scorer.answer("bad policy").error.code == "unknown_policy"
    assert scorer.answer("bad filter").error.code == "invalid_filter"
    for reason, place in sent.items():
        letter = scorer.letter(f"{scorer.requests.topic_id}/{place.partition}/{place.offset}".encode())
        assert dict(letter.headers)["streamrec-reason"] == reason.encode()


def test_a_request_waits_for_the_users_own_ratings(scorer, embedded):
    user_id = f"waiting {uuid.uuid4().hex}"
    request = RecommendationRequest(request_id=user_id, user_id=user_id, min_t=2, deadline_ms=60_000)
    scorer.ask(request)
    assert scorer.exchange(user_id=user_id).state.t == 0
    end = scorer.rate([(user_id, "i1", 5.0), (user_id, "i2", 1.0)], embedded)
    answer = scorer.answer(request.request_id)
    assert (answer.state.t, answer.error) == (2, None)
    assert answer.state.applied_to == {"0": end}
    assert not {"i1", "i2"} & {item.item_id for item in answer.items}


def test_a_request_waits_for_a_place_in_the_log(scorer, embedded):
    end = scorer.rate([("u1", "i1", 5.0)], embedded)
    position = Position(partition=0, offset=end)
    scorer.ask(RecommendationRequest(request_id="at end", user_id="u1", min_position=position, deadline_ms=60_000))
    late = scorer.exchange(user_id="u1", min_position=position, deadline_ms=300)
    assert late.error.code == "state_not_reached"
    assert late.state.applied_to == {"0": end}
    scorer.rate([("u2", "i1", 5.0)], embedded)
    assert scorer.answer("at end").state.applied_to == {"0": end + 1}


def test_a_new_item_and_a_withdrawal_reach_answers(scorer):
    scorer.describe([Item(item_id="new", genres=("Drama",), year=1990)])
    found = wait_until(lambda: scorer.exchange(candidates=("new", "i3")).items, 5.0)
    assert "i3" in {item.item_id for item in found}
    wait_until(lambda: len(scorer.exchange(candidates=("new", "i3")).items) == 2, 5.0)
    scorer.produce("items", b"new", None).get(10)
    wait_until(lambda: len(scorer.exchange(candidates=("new", "i3")).items) == 1, 5.0)


def test_statistics_reach_answers_as_they_are_committed(scorer, embedded):
    before = scorer.exchange(user_id="nobody", candidates=("i5",)).items[0].score
    scorer.rate([(f"fan {number}", "i5", 5.0) for number in range(50)], embedded)
    assert scorer.exchange(user_id="nobody", candidates=("i5",)).items[0].score > before


class TestLife:
    @pytest.fixture
    def lone_stage(self, own_settings, make_settings, broker, store):
        settings = make_settings(
            bootstrap_servers=broker.url,
            redis_url=store.url,
            fetch_wait_ms=10,
            session_timeout_s=6,
            scorer_client=own_settings.scorer_client,
        )
        stage = Stage(settings)
        stage.describe(describe(row) for row in range(5))
        yield stage
        stage.close()

    def test_requests_from_before_the_first_scorer_are_answered_and_committed(self, lone_stage):
        for number in range(20):
            lone_stage.ask(RecommendationRequest(request_id=f"r{number}", user_id=f"u{number}", deadline_ms=60_000))
        with running_scorer(lone_stage.settings):
            answers = [lone_stage.answer(f"r{number}") for number in range(20)]
        assert all(answer.error is None for answer in answers)
        assert lone_stage.committed_requests() == lone_stage.request_ends()

    def test_what_waited_when_a_scorer_ended_is_answered_by_the_next(self, lone_stage, embedded):
        lone_stage.ask(RecommendationRequest(request_id="waits", user_id="u", min_t=1, deadline_ms=60_000))
        with running_scorer(lone_stage.settings):
            lone_stage.exchange(user_id="u")
        assert "waits" not in lone_stage.answers
        assert lone_stage.committed_requests() != lone_stage.request_ends()
        lone_stage.rate([("u", "i1", 5.0)], embedded)
        with running_scorer(lone_stage.settings):
            assert lone_stage.answer("waits").state.t == 1
        assert lone_stage.committed_requests() == lone_stage.request_ends()

    def test_a_missing_topic_refuses_to_start(self, settings):
        with pytest.raises(ConfigurationError, match="does not exist: run `streamrec topics create`"):
            run_scorer(settings, threading.Event())

    def test_an_unknown_policy_refuses_to_start(self, settings):
        chosen = settings.model_copy(update={"policy": "best"})
        with pytest.raises(ConfigurationError, match="policy must be one of"):
            run_scorer(chosen, threading.Event())

    def test_a_scorer_told_to_stop_at_once_stops(self, settings):
        admin = make_admin(settings)
        create_topics(admin, settings)
        admin.close()
        stop = threading.Event()
        stop.set()
        run_scorer(settings, stop)
