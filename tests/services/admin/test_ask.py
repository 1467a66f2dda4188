"""Asking over the bus, with an answerer of the tests' own."""

import pytest

from schemas.codec import encode
from schemas.errors import ConfigurationError, StreamrecError
from schemas.events import Recommendation, RecommendationRequest
from services.admin.ask import Asker
from services.admin.bus import produce_all
from tests.services.answering import answering

pytestmark = pytest.mark.integration


def request(request_id, user_id="u"):
    return RecommendationRequest(request_id=request_id, user_id=user_id)


def answer(asked, **fields):
    return encode(Recommendation(request_id=asked.request_id, user_id=asked.user_id, **fields))


def test_answer_with_the_requests_id_is_returned(topics):
    rubbish = [b"rubbish", b"\xff", b"{}", answer(request("another"))]
    with answering(topics, lambda asked: [*rubbish, answer(asked, seed=5)]), Asker(topics) as asker:
        found = asker.ask(request("r"))
    assert (found.request_id, found.user_id, found.seed) == ("r", "u", 5)


def test_many_requests_get_an_answer_each_and_repeats_are_dropped(topics):
    requests = [request(f"r{i}", f"u{i % 5}") for i in range(20)]
    with answering(topics, lambda asked: [answer(asked, seed=1), answer(asked, seed=2)]), Asker(topics) as asker:
        found = asker.ask_all(requests)
    assert {one.request_id: one.user_id for one in requests} == {key: value.user_id for key, value in found.items()}
    assert {value.seed for value in found.values()} == {1}


def test_answers_from_before_the_question_are_not_read(topics):
    stale = encode(Recommendation(request_id="r", user_id="u", seed=1))
    for value in (stale, answer(request("another"))):  # an end may be named one batch too low
        produce_all(topics, topics.topic("recommendations"), [(b"u", value)])
    with answering(topics, lambda asked: [answer(asked, seed=2)]), Asker(topics) as asker:
        assert asker.ask(request("r")).seed == 2


def test_no_answer_in_time_says_what_to_do(topics):
    with (
        Asker(topics) as asker,
        pytest.raises(StreamrecError, match=r"1 of 1 requests within 0\.2 s .*streamrec scorer"),
    ):
        asker.ask(request("r"), timeout_s=0.2)


def test_missing_topics_are_named(settings):
    with pytest.raises(ConfigurationError, match="topics create"):
        Asker(settings)
