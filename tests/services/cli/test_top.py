import json

from rich.console import Console

from services.admin.scrapes import Scrape
from services.admin.vitals import read_vitals
from services.cli.top_view import draw
from streams.endpoint import serve_endpoint
from streams.settings import Settings


def test_without_an_endpoint_it_says_how_there_is_one(run):
    outcome = run("top", "--once")
    assert outcome.code == 2
    assert "--metrics-port 0" in outcome.err


def test_processes_of_the_directory_are_found_and_one_that_is_not_ready_is_exit_code_1(run):
    with serve_endpoint(Settings(metrics_port=0), "worker") as health:
        outcome = run("top", "--once", "--json", "--every", "0.01")
        (said,) = json.loads(outcome.out.splitlines()[-1])["processes"]
        assert (outcome.code, said["ready"], said["reasons"]) == (1, False, ["starting"])
        health.begin("")
        assert run("top", "--once", "--json", "--every", "0.01").code == 0


def test_an_endpoint_that_does_not_answer_is_named(run):
    outcome = run("top", "--once", "--every", "0.01", "--url", "http://127.0.0.1:1")
    assert outcome.code == 1
    assert "http://127.0.0.1:1 does not answer" in outcome.out
    assert "0 of 1 ready" in outcome.out


def test_it_looks_at_least_once_in_a_while(run):
    assert "every must be above 0, got 0" in run("top", "--every", "0", "--url", "http://127.0.0.1:1").err


def test_a_frame_has_a_row_for_each_process_partition_and_release():
    worker = {
        "streamrec_build_info": [({"role": "worker", "version": "1"}, 1.0)],
        "streamrec_ratings_total": [({"outcome": "applied"}, 3000.0)],
        "streamrec_ratings_lag": [({"partition": "0"}, 12.0), ({"partition": "1"}, 0.0)],
        "streamrec_ratings_next_offset": [({"partition": "0"}, 1700.0), ({"partition": "1"}, 1300.0)],
        "streamrec_watermark_age_seconds": [({"partition": "0"}, 12.34), ({"partition": "1"}, 0.2)],
        "streamrec_model_info": [({"name": "items", "version": "first"}, 1.0)],
    }
    scorer = {
        "streamrec_build_info": [({"role": "scorer", "version": "1"}, 1.0)],
        "streamrec_answers_total": [({"code": "ok"}, 90.0), ({"code": "overloaded"}, 10.0)],
        "streamrec_model_info": [({"name": "items", "version": "second"}, 1.0)],
    }
    looks = [
        Scrape("http://w:1", 2.0, worker, False, ("partition 0 is stalled",)),
        Scrape("http://s:2", 2.0, scorer, True),
    ]
    console = Console(width=132, record=True)
    console.print(draw([read_vitals(Scrape(now.url, 1.0), now) for now in looks]))
    text = console.export_text()
    assert "3,000 ratings/s  100 answers/s  12 ratings behind  1 of 2 ready" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["w:1", "no", "3,000", "12", "12.3"] in [row[:5] for row in rows]
    assert [row for row in rows if row[:2] == ["0", "w:1"]] == [["0", "w:1", "1,700", "12", "12.3"]]
    assert ["items", "first", "1", "worker"] in rows
    assert ["items", "second", "1", "scorer"] in rows
    assert "! worker: partition 0 is stalled" in text
