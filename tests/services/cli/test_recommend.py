"""Recommendations as people and programs see them."""

import json

import pytest

from schemas.codec import encode
from schemas.events import ErrorView, Item, Recommendation, RecommendedItem, StateView
from services.admin.catalogue import publish_items
from services.cli.recommend import explain_slot
from tests.services.answering import answering


def slot(explored=False, **parts):
    return RecommendedItem(item_id="a", score=3.0, propensity=1.0, explored=explored, parts=parts)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (slot(relevance=3.9, novelty=1.0, bonus=0.0), "relevance 3.90"),
        (slot(relevance=3.9, novelty=0.25, bonus=0.0), "relevance 3.90, times 0.25 as it was rated lately"),
        (slot(relevance=3.9, novelty=1.0, bonus=0.125), "relevance 3.90, plus 0.12 as little is known of it"),
        (
            slot(relevance=3.0, novelty=1.0, bonus=None, untried=True, lift=9.0),
            "relevance 3.00, before all others as nobody rated it yet",
        ),
        (slot(relevance=3.0, explored=True), "drawn to explore; relevance 3.00"),
        (slot(explored=True), "drawn to explore"),
        (slot(distance=2.0), ""),
        (slot(relevance=-2.0, novelty=1.0, bonus=0.0, distance=2.0), "relevance -2.00, at distance 2"),
        (
            slot(relevance=3.0, novelty=1.0, bonus=0.0, fallback="greedy"),
            "relevance 3.00, by greedy, as the user has rated too little",
        ),
    ],
)
def test_parts_are_put_in_words(shown, words):
    assert explain_slot(shown) == words


DETAIL = {
    "item_id": "a",
    "prior": 4.0,
    "personal": 0.25,
    "ratings": [
        {"item_id": "x", "rating": 2.0, "share": 0.05},
        {"item_id": "y", "rating": 4.5, "share": 0.3},
        {"item_id": "z", "rating": 1.0, "share": -0.1},
    ],
}


def test_explanation_names_the_two_ratings_that_count_most():
    words = explain_slot(slot(relevance=4.25, novelty=1.0, bonus=0.0), DETAIL, {"y": "Heat"})
    assert words == "relevance 4.25 (4.00 by all, +0.25 by own ratings: 4.5 for Heat, 1.0 for z)"


def test_what_users_in_general_have_is_told_apart_from_the_users_own_ratings():
    detail = DETAIL | {"general": -0.5}
    words = explain_slot(slot(relevance=4.25, novelty=1.0, bonus=0.0), detail, {"y": "Heat"})
    assert words == (
        "relevance 4.25 (4.00 by all, -0.50 by users in general, +0.75 by own ratings: 4.5 for Heat, 1.0 for z)"
    )
    new = {"prior": 4.0, "personal": -0.5, "general": -0.5, "ratings": []}
    assert explain_slot(slot(relevance=3.5), new, {}) == "relevance 3.50 (4.00 by all, -0.50 by users in general)"


def test_explanation_of_a_new_user_adds_nothing():
    assert explain_slot(slot(relevance=4.0), {"prior": 4.0, "personal": 0.0, "ratings": []}, {}) == "relevance 4.00"


@pytest.fixture
def asked():
    return []


@pytest.fixture
def answer(asked):
    """Answers with items a and x, remembering the requests."""

    def answers_of(request):
        asked.append(request)
        items = [slot(relevance=4.25, novelty=1.0, bonus=0.0), slot(relevance=3.5)]
        items[1].item_id = "x"
        state = StateView(t=12, partition=0, offset=3, watermark_age_ms=9.0)
        fields = {"policy": "greedy", "model": "items@1", "items": items, "n_candidates": 40, "state": state}
        explanation = {"formula": "a + b", "items": [DETAIL]} if request.explain else None
        answer = Recommendation(
            request_id=request.request_id, user_id=request.user_id, explanation=explanation, **fields
        )
        return [encode(answer)]

    return answers_of


@pytest.mark.integration
def test_table_has_titles_scores_and_reasons(run, topics, answer):
    publish_items(topics, [Item(item_id="a", title="Heat [1995]", genres=("Crime", "Drama"), year=1995)])
    with answering(topics, answer):
        outcome = run("recommend", "u", settings=topics)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    first = next(line for line in lines if "Heat" in line)
    for cell in ("Heat [1995]", "Crime, Drama", "1995", "3.000", "relevance 4.25"):
        assert cell in first
    assert any(" x " in line for line in lines), "an item that the catalogue does not know goes by its id"
    assert "for u, by greedy with items@1" in outcome.out
    assert "12 ratings known of this user, state 9 ms old; 40 candidates" in outcome.out


@pytest.mark.integration
def test_flags_are_fields_of_the_request(run, topics, answer, asked):
    with answering(topics, answer):
        tokens = ("recommend", "u", "--k", 3, "--policy", "ucb", "--epsilon", "0.5", "--explain")
        outcome = run(*tokens, settings=topics)
    assert outcome.code == 0, outcome.err
    (request,) = asked
    assert (request.user_id, request.k, request.policy, request.epsilon, request.explain) == ("u", 3, "ucb", 0.5, True)
    assert "a + b" in outcome.out
    assert "4.00 by all, +0.25 by own ratings" in outcome.out


@pytest.mark.integration
def test_json_is_the_answer_as_it_was_on_the_bus(run, topics, answer):
    with answering(topics, answer):
        outcome = run("recommend", "u", "--json", settings=topics)
    assert [item["item_id"] for item in json.loads(outcome.out)["items"]] == ["a", "x"]


@pytest.mark.integration
def test_error_is_said_and_ends_with_exit_code_1(run, topics):
    def refuse(request):
        error = ErrorView(code="unknown_policy", message="policy must be one of random, got 'x'")
        return [encode(Recommendation(request_id=request.request_id, user_id=request.user_id, error=error))]

    with answering(topics, refuse):
        outcome = run("recommend", "u", "--policy", "x", settings=topics)
    assert outcome.code == 1
    assert outcome.err == "error: unknown_policy: policy must be one of random, got 'x'\n"


@pytest.mark.integration
def test_no_scorer_is_said_after_the_time_given(run, topics):
    outcome = run("recommend", "u", "--timeout-s", "0.2", settings=topics)
    assert outcome.code == 1
    assert "streamrec scorer" in outcome.err


ARITHMETIC = DETAIL | {"score": 2.125, "relevance": 4.25, "novelty": 0.5, "bonus": 0.0}
ARITHMETIC["ratings"] = [one | {"count": 1} for one in DETAIL["ratings"]]


@pytest.mark.integration
def test_explain_asks_for_the_one_item_and_shows_its_arithmetic(run, topics, asked):
    def answer_one(request):
        asked.append(request)
        draws = {"seed": 7, "epsilon": 0.1, "coins": [0.25]}
        answer = Recommendation(
            request_id=request.request_id,
            user_id=request.user_id,
            policy="epsilon_greedy",
            items=[slot(relevance=4.25, novelty=0.5, bonus=0.0)],
            explanation={"items": [ARITHMETIC], "draws": draws},
            state=StateView(t=12),
        )
        return [encode(answer)]

    publish_items(topics, [Item(item_id="a", title="Heat", year=1995), Item(item_id="y", title="Ronin")])
    with answering(topics, answer_one):
        outcome = run("explain", "u", "a", "--policy", "epsilon_greedy", settings=topics)
    assert outcome.code == 0, outcome.err
    (request,) = asked
    assert (request.candidates, request.exclude_seen, request.explain, request.k) == (("a",), False, True, 1)
    assert "Heat (a, 1995) for u" in outcome.out
    shown = [line.split("│")[2:4] for line in outcome.out.splitlines() if line.count("│") == 5]
    assert [[cell.strip() for cell in row] for row in shown] == [
        ["prior", "4.0"],
        ["personal", "0.25"],
        ["relevance", "4.25"],
        ["novelty", "0.5"],
        ["bonus", "0.0"],
        ["score", "2.125"],
    ]
    assert any("Ronin" in line and "+0.3000" in line for line in outcome.out.splitlines())
    assert "epsilon 0.1, coin 0.2500" in outcome.out


@pytest.mark.integration
def test_explain_names_an_item_that_the_catalogue_does_not_have(run, topics):
    with answering(topics, lambda asked: [encode(Recommendation(request_id=asked.request_id, user_id="u"))]):
        outcome = run("explain", "u", "nothing", settings=topics)
    assert outcome.code == 1
    assert outcome.err == "error: item must be one of the catalogue, got 'nothing'\n"
