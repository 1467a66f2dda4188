"""The commands that run until they are told to stop. Each loads its own room, and no other's."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from schemas.errors import ConfigurationError
from services.cli.flags import SettingsArgument
from streams.logs import configure_logs
from streams.settings import UP_FILE
from streams.signals import stop_on_signals


def parse_time(text: str) -> int:
    """Return a point in time in ms since 1970: ISO 8601 (UTC where it has no zone), or such ms themselves.

    Raises:
        ValueError: the text is neither.

    >>> parse_time("1970-01-01T00:00:01"), parse_time("1970-01-01T01:00+01:00"), parse_time("42")
    (1000, 0, 42)
    """
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"time must be ISO 8601 or milliseconds since 1970, got {text!r}") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _convert_time(_type: Any, tokens: Any) -> int:
    return parse_time(tokens[0].value)


def demo(
    *, once: bool = False, summary: Path | None = None, data: str = "movielens-100k", settings: SettingsArgument
) -> int:
    """Run everything embedded on real data and show it live.

    Args:
        once: end by itself.
        summary: write the figures to this file, as JSON.
        data: movielens-100k, or synthetic, which needs no download.
        settings: from flags, environment and files.
    """
    from services.cli.demo import run_demo  # noqa: PLC0415

    exit_code: int = run_demo(settings, once, summary, data)
    return exit_code


def up(*, broker_port: int = 0, store_port: int = 0) -> None:
    """Run a broker and a store for this machine, empty together, until Ctrl-C.

    Commands run in the same directory find them by .streamrec/up.toml. With KAFKA_HOME set, the broker is that
    Apache Kafka.

    Args:
        broker_port: the broker's port; 0 picks a free one.
        store_port: the store's port; 0 picks a free one.
    """
    from services.runtime.up import run_up  # noqa: PLC0415

    _log_as_a_process()
    home = os.environ.get("KAFKA_HOME")
    run_up(UP_FILE.parent, kafka_home=Path(home) if home else None, broker_port=broker_port, store_port=store_port)


def worker(
    *,
    start: Annotated[int | None, Parameter(converter=_convert_time, metavar="TIME")] = None,
    accept_topic_id: str | None = None,
    resume: bool = False,
    rebuild: bool = False,
    settings: SettingsArgument,
) -> int:
    """Apply ratings to the state until SIGTERM; exit code 3 when state and log contradict one another.

    Args:
        start: where partitions that nothing is known of begin, ISO 8601 or ms since 1970; at their start by default.
        accept_topic_id: go on with this ratings topic, which was made again, from its start; ledgers are kept.
        resume: close the dead-letter breaker, and dead-letter what is bad in the log now.
        rebuild: start over from the log's start where the store was emptied; as the setting rebuild_on_empty.
        settings: from flags, environment and files.
    """
    try:
        from streams.worker.app import run_worker  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise _missing_extra("worker", error) from error
    _log_as_a_process(settings.log_level)
    return run_worker(settings, start_ms=start, accept_topic_id=accept_topic_id, resume=resume, rebuild=rebuild)


def scorer(*, settings: SettingsArgument) -> None:
    """Answer requests until SIGTERM.

    Args:
        settings: from flags, environment and files.
    """
    try:
        from services.scorer.service import run_scorer  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise _missing_extra("scorer", error) from error
    _log_as_a_process(settings.log_level)
    with stop_on_signals() as stop:
        run_scorer(settings, stop)


def _log_as_a_process(level: str = "INFO") -> None:
    configure_logs(level)
    logging.getLogger("kafka").setLevel(logging.WARNING)


def _missing_extra(name: str, error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(f"{name} needs the module {error.name}: install streamrec[{name}]")
