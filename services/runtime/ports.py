"""Free TCP ports for servers that must be told their own."""

import contextlib
import secrets
import socket

HOST = "127.0.0.1"

# Below what Linux (32768..60999) and macOS (49152..65535) give to outgoing connections: a port from there can be taken
# by any client while the server restarts, even by one that ends up connected to itself.
_LOW, _HIGH = 15_000, 32_000
_TRIES = 200


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens on at this moment.

    Another program may take one before the server does, so a server started on it has to be asked who it is.

    Raises:
        OSError: no free port was found.
    """
    ports: list[int] = []
    for _ in range(_TRIES):
        if len(ports) == count:
            return ports
        port = _LOW + secrets.randbelow(_HIGH - _LOW)
        if port not in ports and _can_bind(port):
            ports.append(port)
    raise OSError(f"no free port found on {HOST} between {_LOW} and {_HIGH}")


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int, timeout_s: float = 1.0) -> bool:
    """Return whether somebody, not necessarily the server meant, accepts connections on a port."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=timeout_s):
        return True
    return False
