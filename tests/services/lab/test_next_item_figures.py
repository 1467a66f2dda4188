from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recommender.diversity import DiversityLimits
from recommender.factors.training import FactorSettings
from recommender.policies import PolicySettings
from recommender.rl.model import ACTORS
from recommender.rl.training import ActorSettings
from recommender.sequence.training import SequenceSettings
from schemas.errors import ConfigurationError
from schemas.events import Item
from services.lab import next_item_figures
from services.lab.baselines import BASELINES
from services.lab.evaluation import Task
from services.lab.next_item_figures import evaluate_next_item

ITEMS = [Item(item_id=f"i{row}", title="red", genres=("Drama",), year=1990 + row % 3) for row in range(24)]

SHORT = ActorSettings(
    frame_size=2,
    hidden=32,
    clone_steps=200,
    clone_rate=3e-3,
    clone_rows=128,
    event_dropout=0.0,
    steps=4,
    validate_every=50,
    threads=1,
    rerank=0,
)


@pytest.fixture
def quick(monkeypatch):
    """Few baselines, and a short training."""
    monkeypatch.setattr(next_item_figures, "BASELINES", {name: BASELINES[name] for name in ("popular", "markov")})
    short = SequenceSettings(dim=8, epochs=6, batch=200, half_lives=(1.0, 10.0), threads=1, learning_rate=1e-2)
    monkeypatch.setattr(next_item_figures, "SequenceSettings", lambda: short)


def task_of(*policies, **changed):
    """Users who go through the items in order, from a random start."""
    starts = np.random.default_rng(0).integers(0, 24, size=60)
    rated = [
        (f"u{user}", f"i{(start + step) % 24}", 4.0, step) for step in range(12) for user, start in enumerate(starts)
    ]
    ratings = pd.DataFrame(rated, columns=["user_id", "item_id", "rating", "ts_ms"])
    given = {
        "name": "chains",
        "items": ITEMS,
        "ratings": ratings,
        "vectors_of": lambda items: (np.ones((len(items), 2)), np.ones(len(items), dtype=np.bool_)),
        "policies": policies,
        "factors": FactorSettings(dim=4, parts=2, rounds=2),
        "actor": SHORT,
    }
    return Task(**{**given, **changed})


@pytest.mark.usefixtures("quick")
def test_policies_and_baselines_meet_one_measure():
    told = []
    report = evaluate_next_item(
        task_of("sequence", "linear", "item_mean", "greedy", on_progress=lambda what, *_: told.append(what))
    )
    ranking, baselines = report.figures["ranking"], report.figures["baselines"]
    assert set(ranking) == {"sequence", "linear", "item_mean", "greedy"}
    assert set(baselines) == {"popular", "markov"}
    assert ranking["sequence"]["ndcg@10"] > 0.5
    assert ranking["sequence"]["against_best"]["baseline"] == "markov"
    assert report.figures["next_item"] == {"cut": 576, "events": 720}
    assert [row[0] for row in report.tables[0].rows][-1] != "sequence"
    assert any(what.startswith("sequence: epoch 1") for what in told)
    assert set(report.bars[0].values) == {*ranking, *baselines}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ACTORS)
def test_an_actor_learns_from_what_lies_before_the_cut(name):
    told = []
    report = evaluate_next_item(task_of(name, on_progress=lambda what, *_: told.append(what)))
    assert report.figures["ranking"][name]["ndcg@10"] > 2 * report.figures["baselines"]["popular"]["ndcg@10"]
    assert any(what.startswith("clone: step 200, held-out NDCG@10 ") for what in told)
    assert any(what.startswith(f"{name}: step 204") for what in told)


@pytest.mark.usefixtures("quick")
def test_an_actor_without_a_frame_to_learn_from_is_refused():
    task = task_of("td3")
    with pytest.raises(ConfigurationError, match="td3 cannot be trained on these events"):
        evaluate_next_item(task_of("td3", ratings=task.ratings[:60]))


@pytest.mark.usefixtures("quick")
def test_an_actor_by_another_distance_is_refused():
    with pytest.raises(ConfigurationError, match="ranks actors by inner, got actor_distance 'cosine'"):
        evaluate_next_item(task_of("td3", settings=PolicySettings(actor_distance="cosine")))


@pytest.mark.usefixtures("quick")
def test_a_policy_below_the_limits_is_named_as_collapsed():
    report = evaluate_next_item(task_of("greedy", limits=DiversityLimits(entropy=5.0)))
    assert "entropy" in report.figures["collapsed"]["greedy"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("name", "message"), [("random", "does not rank by scores"), ("best", "must be one of")])
def test_what_does_not_rank_is_refused(name, message):
    with pytest.raises(ConfigurationError, match=message):
        evaluate_next_item(task_of(name))


@pytest.mark.usefixtures("quick")
def test_a_log_that_cannot_be_cut_is_refused():
    task = task_of("greedy")
    with pytest.raises(ConfigurationError, match="the log cannot be cut"):
        evaluate_next_item(task_of("greedy", ratings=task.ratings[:1]))


def test_a_baseline_whose_package_is_missing_is_left_out_and_named(monkeypatch):
    known = {"popular": BASELINES["popular"], "als": replace(BASELINES["als"], needs="no_such_package")}
    monkeypatch.setattr(next_item_figures, "BASELINES", known)
    figures = evaluate_next_item(task_of("greedy")).figures
    assert list(figures["baselines"]) == ["popular"]
    assert figures["left_out"] == {"als": "no_such_package is not installed"}
