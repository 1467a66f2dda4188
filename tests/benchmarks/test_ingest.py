"""What the ingest benchmark reports of repeats that were finished."""

import json
import os
import signal
import sys

import pytest

from benchmarks import ingest
from benchmarks.ingest_sides.stage import Run


def _run(rate):
    return Run(rate, {"side": 0.5, "broker": 0.25, "store": 0.25})


@pytest.fixture
def restored():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_reports_the_finished_repeats_and_says_so(number, monkeypatch, capsys):
    def measure(arguments, home, repeats):
        yield {ingest.OURS: _run(80.0), ingest.PLAIN: _run(2.0)}
        yield {ingest.OURS: _run(90.0), ingest.PLAIN: _run(3.0)}
        os.kill(os.getpid(), number)
        yield {ingest.OURS: _run(1.0), ingest.PLAIN: _run(1.0)}

    monkeypatch.setattr(ingest, "_measure", measure)
    monkeypatch.setattr(sys, "argv", ["ingest", "--broker", "embedded", "--json"])
    with pytest.raises(SystemExit) as ended:
        ingest.main()
    assert ended.value.code == 128 + number
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["note"] == "Interrupted; the figures are of the repeats that were finished: 2 of 5 on embedded."
    assert [(row["side"], row["repeats"], row["lowest_per_s"]) for row in result["rows"]] == [
        (ingest.OURS, 2, 80),
        (ingest.PLAIN, 2, 2),
    ]
    assert result["ratios"] == {"ours_vs_plain_agent": 35.0}


@pytest.mark.usefixtures("restored")
def test_a_benchmark_interrupted_at_once_says_so(monkeypatch, capsys):
    def measure(arguments, home, repeats):
        os.kill(os.getpid(), signal.SIGTERM)
        yield {}

    monkeypatch.setattr(ingest, "_measure", measure)
    monkeypatch.setattr(sys, "argv", ["ingest", "--broker", "embedded"])
    with pytest.raises(SystemExit):
        ingest.main()
    assert capsys.readouterr().out.endswith("finished: 0 of 5 on embedded.\n")


def test_a_side_left_out_of_later_repeats_keeps_its_own_number_of_runs():
    repeats = [{"a": _run(1.0), "b": _run(2.0)}, {"a": _run(3.0)}]
    assert ingest.runs_by_side(repeats) == {"a": [_run(1.0), _run(3.0)], "b": [_run(2.0)]}
