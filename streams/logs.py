"""Logs: pretty in a terminal, one JSON object a line otherwise, always on standard error."""

import logging
import sys

import structlog


def configure_logs(level: str = "INFO") -> None:
    """Set up structlog, and the standard library's loggers (Faust, kafka-python) at WARNING through it."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    is_terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer()
    )
    if is_terminal:
        shared.pop()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for room in ("streams", "services", "recommender"):
        logging.getLogger(room).setLevel(level)
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)  # which warns of our own pauses under load
    logging.getLogger("streams.worker.transport").setLevel(logging.WARNING)  # where mode reports each service's steps
