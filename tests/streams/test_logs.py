"""Logs: one JSON object a line where nobody looks, on standard error."""

import json
import logging

import pytest
import structlog

from streams.logs import configure_logs


@pytest.fixture
def log(capsys):
    """Configure, run, and return the lines logged; everything as before afterwards."""
    root = logging.getLogger()
    rooms = [logging.getLogger(name) for name in ("streams", "services", "recommender")]
    before = root.handlers[:], root.level, [room.level for room in rooms], structlog.get_config()

    def lines(work, level="INFO"):
        configure_logs(level)
        work()
        captured = capsys.readouterr()
        assert captured.out == "", "standard output belongs to the command's result"
        return [json.loads(line) for line in captured.err.splitlines()]

    yield lines
    root.handlers[:], root.level = before[:2]
    for room, room_level in zip(rooms, before[2], strict=True):
        room.setLevel(room_level)
    structlog.configure(**before[3])


def test_event_is_a_json_line_with_its_fields(log):
    (line,) = log(lambda: structlog.get_logger("streams.worker").info("worker.ready", partitions=[0, 1]))
    assert (line["event"], line["partitions"], line["level"]) == ("worker.ready", [0, 1], "info")
    assert line["logger"] == "streams.worker"
    assert line["timestamp"].endswith("Z")


def test_level_is_that_of_our_own_rooms(log):
    def work():
        structlog.get_logger("services.scorer").debug("batch.answered")
        structlog.get_logger("services.scorer").info("scorer.ready")

    assert [line["event"] for line in log(work)] == ["scorer.ready"]
    assert [line["event"] for line in log(work, "DEBUG")] == ["batch.answered", "scorer.ready"]
    assert log(work, "WARNING") == []


def test_libraries_are_heard_from_warnings_up_and_as_json_too(log):
    def work():
        logging.getLogger("kafka.conn").info("connecting")
        logging.getLogger("kafka.conn").warning("lost %s", "broker 1")

    (line,) = log(work)
    assert (line["event"], line["logger"], line["level"]) == ("lost broker 1", "kafka.conn", "warning")


def test_traceback_is_part_of_the_line(log):
    def work():
        try:
            int("no such partition")
        except ValueError:
            structlog.get_logger("streams.worker").exception("worker.failed")

    (line,) = log(work)
    assert "ValueError: invalid literal" in line["exception"]


def test_configuring_twice_does_not_log_twice(log):
    configure_logs()
    assert len(log(lambda: structlog.get_logger("streams").info("once.only"))) == 1
