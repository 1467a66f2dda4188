import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.codec import encode
from services.lab.synthetic import Sizes, generate
from services.runtime.supervise import Supervisor
from tests.integration.commands import Shells, processes_in
from tests.integration.system import end
from tests.services.runtime.processes import is_running
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SIZES = Sizes(users=30, items=40, ratings=600)
SUMMARY_KEYS = {
    *("ratings_published", "ratings_applied", "users", "items", "requests_sent", "requests_answered", "dead_letters"),
    *("state_digest", "expected_digest", "ingest_events_per_s", "latency_ms", "seconds_to_first_recommendation"),
}
KAFKA_HOME = os.environ.get("KAFKA_HOME")
ENGINES = ["tansu", *([pytest.param("kafka", marks=pytest.mark.kafka)] if KAFKA_HOME else [])]


@pytest.fixture(scope="module", params=ENGINES)
def tour(request, tmp_path_factory):
    """What four shells in one directory saw, from `up` to the end of it."""
    directory = tmp_path_factory.mktemp("a tour")
    items, ratings = generate(3, SIZES)
    (directory / "items.jsonl").write_bytes(b"".join(encode(item) + b"\n" for item in items))
    names = {"user_id": "who", "item_id": "what", "rating": "stars"}
    ratings.rename(columns=names).to_csv(directory / "stars.csv", index=False)
    exports = {"KAFKA_HOME": KAFKA_HOME} if request.param == "kafka" else {}
    with Supervisor(tmp_path_factory.mktemp("shells")) as supervisor:
        yield take_tour(Shells(directory, supervisor, exports), directory)
    assert not processes_in(directory)


def take_tour(shells, directory):
    said = {}
    up = shells.launch("up")
    said["up"] = up.wait_for_event("up.ready")
    said["topics create"] = shells.say("topics", "create")
    running = [shells.launch("worker"), shells.launch("scorer")]
    said["catalog load"] = shells.say("catalog", "load", "items.jsonl")
    said["train"] = shells.say("train", "autoencoder", "--dim", "4", "--epochs", "2", "--plot", "losses.png")
    for child in running:
        child.wait_for_event(f"{child.name}.ready")
    columns = "user_id=who,item_id=what,rating=stars"
    said["replay"] = shells.say("replay", "ratings", "stars.csv", "--columns", columns, "--rate", "5000")
    said["before"] = json.loads(shells.say("recommend", "somebody", "--k", "3", "--json"))
    best = said["before"]["items"][0]["item_id"]
    said["rate"] = shells.say("rate", "somebody", best, "4.5")
    said["after"] = wait_until(lambda: ask_until_known(shells, "somebody"), 60, "the rating is known")
    with ThreadPoolExecutor() as two:
        table, doctor = two.submit(shells.say, "recommend", "u1"), two.submit(shells.run, "doctor", "--json")
        said["table"], said["doctor"] = table.result(), doctor.result()
    said["exit codes"] = {child.name: end(child) for child in (*running, up)}
    said["losses.png"] = (directory / "losses.png").read_bytes()
    said["files"] = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    return said


def ask_until_known(shells, user_id):
    answer = json.loads(shells.say("recommend", user_id, "--k", "3", "--json"))
    return answer if answer["state"]["t"] else None


def test_every_topic_is_made(tour):
    assert len(tour["topics create"].splitlines()) == 7
    assert "ratings.dlq: made" in tour["topics create"]


def test_items_are_published_from_a_file(tour):
    assert tour["catalog load"] == "40 items published on items\n"


def test_a_release_is_trained_on_the_catalogue_and_made_the_active_one(tour):
    assert "40 items, D = 4" in tour["train"]
    assert "is the active release on models" in tour["train"]
    assert tour["losses.png"].startswith(b"\x89PNG")


def test_ratings_are_replayed_from_a_file_with_columns_of_its_own(tour):
    assert tour["replay"].startswith("600 ratings published on ratings in ")


def test_a_new_user_is_recommended_three_items_with_the_trained_release(tour):
    before = tour["before"]
    assert (len(before["items"]), before["state"]["t"], before["error"]) == (3, 0, None)
    assert before["model"].startswith("items@")


def test_what_was_rated_is_recommended_no_more(tour):
    best = tour["before"]["items"][0]["item_id"]
    assert tour["rate"].startswith("ratings partition ")
    assert (tour["after"]["state"]["t"], len(tour["after"]["items"])) == (1, 3)
    assert best not in {slot["item_id"] for slot in tour["after"]["items"]}


def test_recommendations_are_shown_with_titles_and_reasons(tour):
    assert "for u1, by greedy with items@" in tour["table"]
    assert " No. " in tour["table"]
    assert "relevance" in tour["table"]


def test_the_doctor_finds_nothing_that_cannot_work(tour):
    assert tour["doctor"].returncode == 0, tour["doctor"].stdout
    findings = json.loads(tour["doctor"].stdout)
    assert {finding["status"] for finding in findings} <= {"ok", "warn"}
    checks = {finding["check"] for finding in findings}
    assert checks >= {"broker", "catalogue", "embeddings", "store", "clock", "state", "torch", "gpu"}


def test_every_shell_ends_with_0_within_ten_seconds_of_sigterm(tour):
    assert tour["exit codes"] == {"worker": 0, "scorer": 0, "up": 0}


def test_up_tells_the_other_shells_where_it_is_only_while_it_runs(tour):
    assert ".streamrec/up.toml" not in tour["files"]
    assert tour["up"]["file"] == ".streamrec/up.toml"


def test_the_demo_ends_by_itself_rightly_and_leaves_no_process(tmp_path):
    with Supervisor(tmp_path / "logs") as supervisor:
        demo = Shells(tmp_path, supervisor).run("demo", "--once", "--data", "synthetic", "--summary", "f.json")
        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert not processes_in(tmp_path)
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures.keys() >= SUMMARY_KEYS
    assert figures["latency_ms"].keys() == {"p50", "p99"}
    assert figures["ratings_published"] == figures["ratings_applied"] == 100_000
    assert figures["requests_sent"] == figures["requests_answered"] > 0
    assert figures["state_digest"] == figures["expected_digest"]
    assert (figures["users"], figures["items"], figures["dead_letters"]) == (943, 1682, 0)
    logged = [json.loads(line) for line in (tmp_path / ".streamrec/demo/up.log").read_text().splitlines()]
    (ready,) = (event for event in logged if event["event"] == "up.ready")
    pids = {ready["broker_pid"], ready["store_pid"]}
    pids |= {int(found) for found in re.findall(r"\(process (\d+)\)", demo.stdout)}
    assert len(pids) == 4
    assert not [pid for pid in pids if is_running(pid)]
