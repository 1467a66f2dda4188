"""The HTTP endpoint of a process, in a thread of its own: `/metrics`, `/livez`, `/readyz`."""

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from schemas.errors import ConfigurationError
from streams import metrics
from streams.health import Health
from streams.settings import UP_FILE, Settings

log = structlog.get_logger(__name__)

LISTED = UP_FILE.parent / "metrics"
"""Where processes on free ports say which they got; `streamrec top` looks there."""
POLL_S = 0.05
"""How often the thread looks whether it shall end."""
IDLE_S = 10.0
"""How long a client may keep a connection without asking."""


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    timeout = IDLE_S

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._send(HTTPStatus.OK, kind, encode(REGISTRY))
        elif path == "/livez":
            is_alive = self.server.health.is_alive
            self._send_json(HTTPStatus.OK if is_alive else HTTPStatus.SERVICE_UNAVAILABLE, {"alive": is_alive})
        elif path == "/readyz":
            reasons = self.server.health.faults()
            code = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
            self._send_json(code, {"ready": not reasons, "role": self.server.health.role, "reasons": reasons})
        else:
            self._send_json(HTTPStatus.NOT_FOUND, {"paths": ["/metrics", "/livez", "/readyz"]})

    def _send_json(self, code: HTTPStatus, said: dict[str, Any]) -> None:
        self._send(code, "application/json", json.dumps(said).encode() + b"\n")

    def _send(self, code: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Say nothing: a scrape is no event."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, health: Health) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.health = health
        super().__init__((host, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class' names
        """Say what went wrong with one request; a client that went away is nothing."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.warning("metrics.unanswered", error=repr(error))


@contextlib.contextmanager
def serve_endpoint(settings: Settings, role: str, device: str = "cpu") -> Iterator[Health]:
    """Serve numbers and health while the block runs, where ``metrics_port`` is set; yield what is to be told of health.

    Args:
        settings: host and port.
        role: what the process is.
        device: what it computes on.

    Raises:
        ConfigurationError: the address is taken, or is none of this machine.
    """
    health = Health(role, settings.stalled_after_s)
    metrics.show_process(role, device)
    metrics.READY.set_function(lambda: float(not health.faults()))
    if settings.metrics_port is None:
        yield health
        return
    try:
        server = _Server(settings.metrics_host, settings.metrics_port, health)
    except OSError as error:
        raise ConfigurationError(
            f"metrics_host {settings.metrics_host!r}, metrics_port {settings.metrics_port}: {error}"
        ) from error
    host = f"[{settings.metrics_host}]" if ":" in settings.metrics_host else settings.metrics_host
    url = f"http://{host}:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(POLL_S,), name="metrics", daemon=True).start()
    log.info("metrics.ready", url=url)
    try:
        with _listed(url, role) if settings.metrics_port == 0 else contextlib.nullcontext():
            yield health
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def _listed(url: str, role: str) -> Iterator[None]:
    """Say in a file where the endpoint is, while the block runs; a folder that cannot be written is no failure."""
    path = LISTED / f"{role}-{os.getpid()}.json"
    try:
        LISTED.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
    except OSError as error:
        log.warning("metrics.unlisted", path=str(path), error=str(error))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def listed_endpoints(directory: Path = LISTED) -> list[str]:
    """Return the URLs that live processes of this directory have listed, by role."""
    found = []
    for path in sorted(directory.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):  # gone meanwhile, half written, or nobody's any more
            listed = json.loads(path.read_text())
            os.kill(int(listed["pid"]), 0)
            found.append(str(listed["url"]))
    return found
