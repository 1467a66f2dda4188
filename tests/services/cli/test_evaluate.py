import json

import pandas as pd
import pytest

from services.lab.datasets import make_synthetic
from services.lab.synthetic import Sizes


@pytest.fixture
def files(tmp_path):
    data = make_synthetic(0, Sizes(users=40, items=120, ratings=40 * 80))
    data.ratings.to_csv(tmp_path / "ratings.csv", index=False)
    rows = [{"item_id": item.item_id, "title": item.title, "genres": list(item.genres)} for item in data.items]
    lines = [json.dumps(row | {"year": item.year}) for row, item in zip(rows, data.items, strict=True)]
    (tmp_path / "items.jsonl").write_text("\n".join(lines) + "\n")
    return "--data", "ratings.csv", "--items", "items.jsonl", "--embeddings", "pca", "--splits", "1"


def test_figures_come_as_json_with_a_page_and_a_picture(run, files, tmp_path):
    given = ("--protocol", "held_out", "--policy", "greedy", "linear", "--out", "report", "--least-entropy", "20")
    outcome = run("evaluate", *files, *given, "--json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out.strip().splitlines()[-1])
    assert set(figures["gap_closed"]) == {"random", "item_mean", "greedy", "linear"}
    assert (figures["ranking"], figures["baselines"]) == ({}, {})
    assert set(figures["collapsed"]) == {"item_mean", "greedy", "linear"}
    assert "linear has collapsed: entropy" in " ".join(outcome.err.split())
    assert figures["paired_with_item_mean"]["linear"]["users"] > 0
    assert {"versions", "cores", "ceiling", "gap_closed_se", "gap_closed_spread"} <= set(figures)
    assert json.loads((tmp_path / "report/evaluation.json").read_text()) == figures
    page = (tmp_path / "report/evaluation.html").read_text()
    assert "cumulative regret" in page
    assert "intra-list distance" in page
    assert (tmp_path / "report/evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_is_for_people(run, files):
    outcome = run("evaluate", *files, "--protocol", "held_out", "--policy", "linear", "--out", "report")
    assert outcome.code == 0, outcome.err
    assert "share of the way from random to the best possible" in outcome.out
    assert "ceiling" in outcome.out


def test_an_unknown_protocol_or_policy_is_refused_with_the_known_ones(run, files):
    outcome = run("evaluate", *files, "--protocol", "best")
    assert (outcome.code, "protocol must be one of held_out" in outcome.err) == (2, True)
    outcome = run("evaluate", *files, "--protocol", "held_out", "--policy", "sequence")
    assert (outcome.code, "held_out trains no model of sequence" in outcome.err) == (2, True)
    outcome = run("evaluate", *files, "--policy", "best")
    assert (outcome.code, "linear_thompson" in outcome.err) == (2, True)


def test_a_file_of_ratings_needs_items(run, tmp_path):
    pd.DataFrame({"user_id": ["u"], "item_id": ["i"], "rating": [4.0]}).to_csv(tmp_path / "r.csv", index=False)
    outcome = run("evaluate", "--data", "r.csv")
    assert (outcome.code, "say which items by --items FILE" in outcome.err) == (2, True)


def test_the_model_of_linear_is_trained_on_a_file(run, files, tmp_path):
    given = [*files[:4], "--rounds", "2", "--dim", "8", "--no-publish", "--plot", "rounds.png"]
    outcome = run("train", "factors", *given)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("linear@")
    assert "D = 8" in outcome.out
    assert (tmp_path / "rounds.png").exists()
    outcome = run("train", "factors", *files[:4], "--dim", "12", "--no-publish")
    assert (outcome.code, "dim must be a multiple of parts" in outcome.err) == (2, True)
    outcome = run("train", "factors", *given, "--least-entropy", "20")
    assert (outcome.code, "has collapsed, so it is not released" in outcome.err) == (1, True)
