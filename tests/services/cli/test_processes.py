"""The commands that run until they are told to stop: what they are given, and how they are told."""

import os
import signal
import threading
from pathlib import Path

import pytest

from services.cli.processes import parse_time


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01.5", 1_500),
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("867000000000", 867_000_000_000),
    ],
)
def test_time_is_iso_8601_or_milliseconds(text, ms):
    assert parse_time(text) == ms


@pytest.mark.parametrize("text", ["yesterday", "", "-5", "1970-13-01"])
def test_other_times_are_refused(text):
    with pytest.raises(ValueError, match="time must be ISO 8601 or milliseconds"):
        parse_time(text)


def test_worker_is_given_start_and_topic_and_its_exit_code_is_ours(run, monkeypatch):
    given = []

    def run_worker(settings, start_ms=None, accept_topic_id=None, *, resume=False, rebuild=False):
        given.append((settings.namespace, start_ms, accept_topic_id, resume, rebuild))
        return 3

    monkeypatch.setattr("streams.worker.app.run_worker", run_worker)
    assert run("worker").code == 3
    assert run("worker", "--start", "1970-01-01T00:00:05", "--accept-topic-id", "abc", "--namespace", "n").code == 3
    assert run("worker", "--resume").code == 3
    assert run("worker", "--rebuild").code == 3
    assert given == [
        ("streamrec", None, None, False, False),
        ("n", 5_000, "abc", False, False),
        ("streamrec", None, None, True, False),
        ("streamrec", None, None, False, True),
    ]


def test_time_that_is_none_is_wrong_usage(run):
    outcome = run("worker", "--start", "yesterday")
    assert outcome.code == 2
    assert "ISO 8601" in outcome.err.replace("\n", " ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_scorer_is_told_to_stop_by_a_signal(run, monkeypatch, number):
    before = signal.getsignal(number)

    def run_scorer(settings, stop):
        assert not stop.is_set()
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        assert stop.wait(10)

    monkeypatch.setattr("services.scorer.service.run_scorer", run_scorer)
    try:
        assert run("scorer").code == 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(number, before)


@pytest.mark.parametrize("home", [None, "/opt/kafka"])
def test_up_runs_the_kafka_that_the_environment_names(run, monkeypatch, home):
    given = {}
    monkeypatch.setattr("services.runtime.up.run_up", lambda directory, **rest: given.update(rest, directory=directory))
    if home is None:
        monkeypatch.delenv("KAFKA_HOME", raising=False)
    else:
        monkeypatch.setenv("KAFKA_HOME", home)
    assert run("up", "--store-port", "6390").code == 0
    assert given == {
        "directory": Path(".streamrec"),
        "kafka_home": home and Path(home),
        "broker_port": 0,
        "store_port": 6390,
    }


def test_demo_is_given_what_it_is_asked_for(run, monkeypatch):
    given = []
    monkeypatch.setattr("services.cli.demo.run_demo", lambda *arguments: given.append(arguments[1:]) or 1)
    assert run("demo", "--once", "--summary", "s.json", "--data", "synthetic").code == 1
    assert run("demo").code == 1
    assert given == [(True, Path("s.json"), "synthetic"), (False, None, "movielens-100k")]
