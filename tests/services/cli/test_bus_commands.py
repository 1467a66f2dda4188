"""Commands that make topics and fill them, on a real broker."""

import json

import numpy as np
import pytest

from recommender.policies import read_policy_model
from schemas.events import Item
from services.admin.bus import produce_all
from services.admin.catalogue import publish_items, read_catalogue
from services.admin.releases import read_releases
from streams.models.releases import load_policy_release, load_release

pytestmark = pytest.mark.integration

ITEMS_CSV = """movie,name,genres,year
1,Heat,"['Crime', 'Drama']",[1995]
2,Alien,Horror|Sci-Fi,1979
"""


def test_topics_are_made_once_and_then_checked(run, settings):
    assert run("topics", "check", settings=settings).code == 1
    made = run("topics", "create", settings=settings)
    assert made.code == 0
    assert made.out.count(": made\n") == 7
    assert run("topics", "create", settings=settings).out.count(": was there\n") == 7
    checked = run("topics", "check", settings=settings)
    assert (checked.code, checked.out.count(" ok ")) == (0, 7)


def test_catalogue_is_loaded_from_a_file_with_columns_of_its_own(run, topics, tmp_path):
    (tmp_path / "movies.csv").write_text(ITEMS_CSV)
    outcome = run("catalog", "load", "movies.csv", "--columns", "item_id=movie,title=name", settings=topics)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"2 items published on {topics.topic('items')}\n"
    found = {item.item_id: item for item in read_catalogue(topics).items}
    assert found["1"] == Item(item_id="1", title="Heat", genres=("Crime", "Drama"), year=1995)
    assert found["2"].genres == ("Horror", "Sci-Fi")


def test_bad_lines_are_left_out_named_and_make_exit_code_1(run, topics, tmp_path):
    lines = [json.dumps({"item_id": str(i)}) for i in range(3)] + ["{}", "rubbish"] + ['{"item_id": ""}'] * 9
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    outcome = run("catalog", "load", "items.jsonl", settings=topics)
    assert outcome.code == 1
    assert outcome.out.startswith("3 items published")
    assert "line 4 left out: missing_field: item_id is required" in outcome.err
    assert outcome.err.count("left out:") == 5, "the first five are shown"
    assert "11 lines were left out" in outcome.err


def test_data_set_is_loaded_by_name_and_its_licence_named(run, topics):
    outcome = run("catalog", "load", "synthetic", settings=topics)
    assert outcome.code == 0, outcome.err
    assert "free of any licence" in outcome.err
    count = int(outcome.out.split()[0])
    assert count == len(read_catalogue(topics).items) > 100


@pytest.mark.parametrize(
    ("tokens", "code", "word"),
    [
        (("catalog", "load", "nothing.csv"), 1, "nothing.csv is not a file"),
        (("catalog", "load", "items.xml"), 1, "must end in"),
        (("catalog", "load", "synthetic", "--columns", "title=name"), 2, "--columns is for files"),
        (("catalog", "load", "movies.csv", "--columns", "name=title"), 2, "columns must be of"),
        (("catalog", "load", "movies.csv", "--columns", "item_id"), 2, "NAME=COLUMN"),
        (("replay", "ratings", "nothing.csv"), 1, "nothing.csv is not a file"),
        (("replay", "ratings", "synthetic", "--rate", "1", "--speed", "1"), 2, "rate"),
        (("replay", "ratings", "synthetic", "--rate", "0"), 2, "rate"),
    ],
)
def test_source_that_cannot_be_read_is_said(run, topics, tmp_path, tokens, code, word):
    (tmp_path / "movies.csv").write_text(ITEMS_CSV)
    outcome = run(*tokens, settings=topics)
    assert outcome.code == code
    assert word in outcome.err.replace("\n", " ")
    assert read_catalogue(topics).items == ()


def test_ratings_of_a_file_are_replayed(run, topics, tmp_path):
    rows = "".join(f"u{i % 3},i{i},4,{1000 * i}\n" for i in range(50))
    (tmp_path / "log.csv").write_text(f"user,item_id,rating,ts_ms\n{rows}u,i,9,0\n")
    outcome = run("replay", "ratings", "log.csv", "--columns", "user_id=user", "--speed", "1000", settings=topics)
    assert outcome.code == 1, "one line was left out"
    assert outcome.out.startswith(f"50 ratings published on {topics.topic('ratings')} in ")
    assert "line 52 left out: rating_out_of_range" in outcome.err


def test_rate_says_where_the_rating_lies(run, topics):
    outcome = run("rate", "u", "i", "4.5", settings=topics)
    assert outcome.code == 0
    topic, partition, offset = outcome.out.replace("partition", "").replace("offset", "").split()
    assert (topic, int(partition) in range(4), int(offset)) == (topics.topic("ratings"), True, 0)


def test_embeddings_are_trained_on_the_catalogue_and_released(run, topics, tmp_path):
    items = [Item(item_id=f"i{i}", genres=("Drama", "Crime")[: 1 + i % 2], year=1990 + i % 9) for i in range(40)]
    publish_items(topics, items)
    outcome = run("train", "pca", "--dim", "4", "--plot", "losses.png", settings=topics)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    release = read_releases(topics)[topics.embedding]
    assert release.label in outcome.out
    model = load_release(release)
    assert (len(model.item_ids), model.dim) == (40, 4)


def test_release_may_stay_unpublished(run, topics):
    outcome = run("train", "pca", "--data", "synthetic", "--no-publish", settings=topics)
    assert outcome.code == 0, outcome.err
    assert read_releases(topics) == {}


def test_the_policy_sequence_is_trained_on_the_ratings_of_the_log_and_released(run, topics, tmp_path):
    ratings = [
        (
            f"u{user}".encode(),
            json.dumps({"user_id": f"u{user}", "item_id": f"i{(user + step) % 30}", "rating": 4}).encode(),
        )
        for user in range(30)
        for step in range(12)
    ]
    produce_all(topics, topics.topic("ratings"), ratings)
    outcome = run("train", "sequence", "--dim", "8", "--epochs", "3", "--plot", "losses.png", settings=topics)
    assert outcome.code == 0, outcome.err
    assert "360 ratings of 30 items, D = 8" in outcome.out
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    release = read_releases(topics)["sequence"]
    assert (release.kind, release.label in outcome.out) == ("policy", True)
    assert len(load_policy_release(release, read_policy_model).item_ids) == 30


def test_an_actor_is_trained_on_the_ratings_of_the_log_and_released(run, topics, tmp_path):
    items = [
        (f"i{row}".encode(), json.dumps({"item_id": f"i{row}", "genres": ["Drama"], "year": 1990 + row % 5}).encode())
        for row in range(30)
    ]
    ratings = [
        (
            f"u{user}".encode(),
            json.dumps({"user_id": f"u{user}", "item_id": f"i{(user + step) % 30}", "rating": 4}).encode(),
        )
        for user in range(30)
        for step in range(14)
    ]
    produce_all(topics, topics.topic("items"), items)
    produce_all(topics, topics.topic("ratings"), ratings)
    given = ("--clone-steps", "20", "--steps", "4", "--plot", "trace.png", "--checkpoint", "td3.checkpoint")
    outcome = run("train", "td3", *given, settings=topics)
    assert outcome.code == 0, outcome.err
    assert "420 ratings, 108 frames of 10, 30 items, D = 128, step 24" in outcome.out
    assert (tmp_path / "trace.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "td3.checkpoint").exists()
    release = read_releases(topics)["td3"]
    assert (release.kind, release.label in outcome.out) == ("policy", True)
    assert len(load_policy_release(release, read_policy_model).item_ids) == 30
    again = run("train", "td3", *given, "--no-publish", settings=topics)
    assert release.sha256 in again.out
    other = run("train", "td3", *given, "--seed", "8", settings=topics)
    assert (other.code, "checkpoint is of another training" in other.err) == (2, True)


def test_training_sequence_without_ratings_is_an_error(run, topics):
    outcome = run("train", "sequence", settings=topics)
    assert outcome.code == 1
    assert "the log has no rating" in outcome.err


def test_the_model_of_linear_is_learned_from_the_topics_and_released(run, topics):
    items = [Item(item_id=f"i{i}", genres=("Drama", "Crime")[: 1 + i % 2], year=1990 + i % 9) for i in range(40)]
    publish_items(topics, items)
    rng = np.random.default_rng(1)
    ratings = [
        {"user_id": f"u{user}", "item_id": f"i{row}", "rating": float(rng.integers(1, 6))}
        for user in range(30)
        for row in rng.permutation(40)[:15].tolist()
    ]
    topic = topics.topic("ratings")
    produce_all(topics, topic, [(b"k", json.dumps(rating).encode()) for rating in ratings])
    outcome = run("train", "factors", "--dim", "8", "--rounds", "2", "--embedding", settings=topics)
    assert outcome.code == 0, outcome.err
    assert load_release(read_releases(topics)[topics.embedding]).dim == 8
    release = read_releases(topics)["linear"]
    assert release.label in outcome.out
    model = load_policy_release(release, read_policy_model)
    assert (len(model.item_ids), model.dim, release.metrics["ratings"]) == (40, 8, 450.0)


def test_training_without_items_is_an_error(run, topics):
    outcome = run("train", "pca", settings=topics)
    assert outcome.code == 1
    assert "at least 2 items" in outcome.err


def test_doctor_speaks_json(run, topics, monkeypatch):
    monkeypatch.setattr("services.admin.doctor.check_torch", list)
    outcome = run("doctor", "--json", settings=topics)
    assert outcome.code == 0, outcome.out
    findings = {finding["check"]: finding for finding in json.loads(outcome.out)}
    assert findings["broker"]["status"] == "ok"
    assert set(findings["store"]) == {"check", "status", "says", "remedy"}


def test_doctor_has_a_table_and_exit_code_1_when_something_fails(run, settings, monkeypatch):
    monkeypatch.setattr("services.admin.doctor.check_torch", list)
    outcome = run("doctor", settings=settings)
    assert outcome.code == 1
    assert "run `streamrec topics create`" in outcome.out
