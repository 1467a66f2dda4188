"""The live view: a picture in a terminal, a line now and then without one."""

import io

from rich.console import Console

from services.loadtest.outcome import Look
from services.loadtest.view import RunView


def look(at_s, **values):
    figures = {
        "phase": "sending",
        "seconds": 10.0,
        "due": 110,
        "sent": 100,
        "applied": 90,
        "lag": 7,
        "requests_due": 50,
        "answered": 40,
        "told": {"r_p50_ms": 1.25, "r_p99_ms": 9.5, "p_p50_ms": None, "p_p99_ms": None},
        "errors": {},
        "cores": {"worker": 0.5},
    }
    return Look(at_s=at_s, **figures | values)


def test_without_a_terminal_there_is_a_line_every_other_second():
    written = io.StringIO()
    with RunView("title", Console(file=written, width=300)) as view:
        for at_s in (0.0, 0.5, 1.9, 2.1, 2.2):
            view.show(look(at_s))
    lines = written.getvalue().splitlines()
    assert lines == [
        f"{second} s, sending: 100 ratings sent, 90 applied (lag 7), 40 of 50 requests answered, "
        "answer p50 1.2 ms, p99 9.5 ms, visible -"
        for second in (0, 2)
    ]


def test_errors_are_named():
    written = io.StringIO()
    with RunView("title", Console(file=written, width=300)) as view:
        view.show(look(0.0, errors={"overloaded": 1200}))
    assert written.getvalue().rstrip().endswith("; 1,200 overloaded")


def test_a_terminal_shows_the_whole_picture():
    written = io.StringIO()
    with RunView("synthetic:[1]", Console(file=written, force_terminal=True, width=100)) as view:
        view.show(look(3.0, errors={"internal": 2}))
        view._live.refresh()
    shown = written.getvalue()
    for text in ("loadtest: synthetic:[1]", "110 due, 100 sent, 90 applied", "p99 9.5 ms", "worker 0.50", "2 internal"):
        assert text in shown
