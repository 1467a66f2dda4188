"""Two answers to one request: what differs, by slot, and which answers item statistics went into."""

import json

import msgspec
import pytest

from recommender.policies import POLICIES
from schemas.events import RecommendedItem
from services.loadtest.answers_compared import Comparison, differences, used_statistics
from tests.services.loadtest.recorded import answered


def item(item_id="i", **fields):
    return RecommendedItem(**{"item_id": item_id, "score": 0.5, "propensity": 1.0, "explored": False, **fields})


def found(recorded, again, **how):
    return [(one.slot, one.what, one.recorded, one.again) for one in differences(recorded, again, **how)]


def test_times_places_and_explanations_are_not_compared():
    recorded = answered("r", "u", 1, {0: 5})
    again = msgspec.structs.replace(answered("r", "u", 1, {1: 9}), ts_ms=9, explanation={"t": 1})
    assert found(recorded, again) == []


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"policy": "greedy"}, (None, "policy", "greedy_compat", "greedy")),
        ({"policy_version": "2"}, (None, "policy_version", "1", "2")),
        ({"model": "items@2"}, (None, "model", "items@1", "items@2")),
        ({"seed": 8}, (None, "seed", 7, 8)),
        ({"epsilon": 0.5}, (None, "epsilon", None, 0.5)),
        ({"n_candidates": 8}, (None, "n_candidates", 9, 8)),
        ({"propensity_kind": "counted"}, (None, "propensity_kind", "exact", "counted")),
        ({"items": []}, (None, "number of items", 1, 0)),
        ({"items": [item("j")]}, (1, "item_id", "i", "j")),
        ({"items": [item(score=0.5000000000000001)]}, (1, "score", 0.5, 0.5000000000000001)),
        ({"items": [item(propensity=0.5)]}, (1, "propensity", 1.0, 0.5)),
        ({"items": [item(explored=True)]}, (1, "explored", False, True)),
    ],
)
def test_every_value_that_differs_is_named(fields, what):
    assert found(answered("r", "u"), answered("r", "u", **fields)) == [what]


def test_slots_are_counted_from_one():
    recorded = answered("r", "u", items=[item("a"), item("b")])
    (difference,) = differences(recorded, answered("r", "u", items=[item("a"), item("c")]))
    assert str(difference) == "request 'r' of user 'u' slot 2: item_id was 'b', is 'c'"


def test_states_must_be_those_of_the_record():
    recorded = answered("r", "u", 1, {0: 5, 1: 2})
    assert found(recorded, answered("r", "u", 2)) == [(None, "state.t", 1, 2)]
    assert found(recorded, answered("r", "u", 1, {0: 4, 2: 3}), serial=True) == []
    assert found(recorded, answered("r", "u", 1, {0: 4}), serial=True) == [(None, "events applied", 7, 4)]


def test_errors_are_compared_by_code():
    refused = answered("r", "u", code="unknown_policy")
    assert found(refused, refused) == []
    assert found(refused, answered("r", "u")) == [(None, "error", "unknown_policy", None)]


@pytest.mark.parametrize("policy", [*POLICIES, "of another version"])
def test_answers_use_item_statistics_but_for_policies_known_not_to(policy):
    is_free = policy.endswith("_compat") or policy in {"ddpg", "td3", "reinforce", "bcq", "qlearning", "sarsa"}
    assert used_statistics(answered("r", "u", policy=policy)) != is_free


def test_fallback_says_what_an_answer_used():
    for fallback, uses in (("greedy", True), ("greedy_compat", False)):
        items = [item(parts={"fallback": fallback})]
        assert used_statistics(answered("r", "u", policy="ddpg", items=items)) == uses


def test_answers_without_items_used_no_statistics():
    assert not used_statistics(answered("r", "u", policy="greedy", items=[]))
    assert not used_statistics(answered("r", "u", code="unknown_policy"))


def test_comparison_counts_names_and_tells():
    comparison = Comparison(serial=False, answers=4, seconds=1.25)
    comparison.compare(answered("r", "u"), answered("r", "u"))
    assert comparison.is_same
    comparison.compare(answered("s", "u"), answered("s", "u", seed=8, items=[item(score=0.25)]))
    comparison.leave_out("so it is", "t")
    comparison.unanswered.append("w")
    assert not comparison.is_same
    assert comparison.summary().splitlines() == [
        "played again, each user in order, in 1.2 s: 4 answers, 2 compared: 1 the same, 1 differ",
        "differ: seed 1, score 1",
        "  request 's' of user 'u': seed was 7, is 8",
        "  request 's' of user 'u' slot 1: score was 0.5, is 0.25",
        "not compared: 1, as so it is",
        "unanswered: 'w'",
    ]
    said = json.loads(json.dumps(comparison.as_json()))
    assert (said["differing"], said["differences"], said["not_compared"]) == (
        1,
        {"seed": 1, "score": 1},
        {"so it is": ["t"]},
    )
    assert said["named"][1]["slot"] == 1


def test_nothing_compared_is_not_the_same():
    comparison = Comparison(serial=False, answers=1)
    comparison.leave_out("so it is", "t")
    assert not comparison.is_same


def test_unanswered_request_is_not_the_same():
    comparison = Comparison(serial=False, answers=2, unanswered=["r"])
    comparison.compare(answered("s", "u"), answered("s", "u"))
    assert not comparison.is_same


def test_first_differences_are_named_and_all_counted(monkeypatch):
    monkeypatch.setattr("services.loadtest.answers_compared.DIFFERENCES_NAMED", 29)
    comparison = Comparison(serial=False)
    for n in range(30):
        comparison.compare(answered(f"r{n}", "u"), answered(f"r{n}", "u", seed=8))
    assert (len(comparison.named), comparison.differences["seed"]) == (29, 30)


def test_some_differences_of_some_requests_are_shown():
    comparison = Comparison(serial=False)
    for n in range(9):
        other = {"seed": 8, "model": "m@2", "epsilon": 0.5, "n_candidates": 1, "policy_version": "2"}
        comparison.compare(answered(f"r{n}", "u"), answered(f"r{n}", "u", **other))
    shown = [line for line in comparison.summary().splitlines() if line.startswith("  request")]
    assert [line.split("'")[1] for line in shown] == [f"r{n}" for n in range(5) for _ in range(4)]
