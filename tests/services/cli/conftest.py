"""Run the command line in this process."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import structlog

from services.cli.main import app
from services.runtime.engines import Engine
from tests.conftest import KAFKA_HOME


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def broker(request) -> Engine:
    """One broker, Apache Kafka where KAFKA_HOME is set: what commands call is tested on each, below ``services``."""
    return request.getfixturevalue("kafka_broker" if KAFKA_HOME else "tansu_broker")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Callable[..., Outcome]:
    """Run a command in an empty directory; settings, when given, go with it as flags."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()

    def run_command(*tokens, settings=None) -> Outcome:
        flags = [] if settings is None else as_flags(settings)
        try:
            code = app.meta([*map(str, tokens), *flags], result_action="return_value") or 0
        except SystemExit as exited:
            code = exited.code
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    yield run_command
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)
    logging.getLogger("kafka").setLevel(logging.NOTSET)


def as_flags(settings) -> list[str]:
    """Return the settings that differ from their defaults, as flags."""
    given = settings.model_dump(exclude_defaults=True)
    return [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
