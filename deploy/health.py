"""Whether this container does its work, asked of those it works with; exit code 0 or 1, as Docker's HEALTHCHECK has it.

    python health.py worker | scorer

A process that hangs stops its heartbeats and is put out of its consumer group by the broker, so the broker is asked
whether this host is a member, and the store whether it answers. Nothing is asked of the process itself.
"""  # noqa: INP001 - a script

import logging
import socket
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kafka.errors import KafkaError
from redis import RedisError

from schemas.errors import StreamrecError
from streams.bus.clients import make_admin
from streams.settings import Settings, load_settings
from streams.store.clients import make_client

ROLES = ("worker", "scorer")


def own_addresses() -> frozenset[str]:
    """Return the IP addresses this host's name stands for; in a container those of its networks."""
    return frozenset(str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None))


def is_member(members: Iterable[Mapping[str, Any]], addresses: Collection[str]) -> bool:
    """Return whether a member of a described group connected from one of the addresses.

    >>> is_member([{"client_host": "/172.18.0.4"}], {"172.18.0.4"})
    True
    """
    return any(str(member["client_host"]).removeprefix("/") in addresses for member in members)


def find_fault(settings: Settings, role: str, addresses: Collection[str]) -> str:
    """Return what keeps a worker or scorer at one of the addresses from its work; empty when nothing does.

    Args:
        settings: those of the process.
        role: one of ROLES.
        addresses: the IP addresses it connects from.
    """
    group = settings.group_worker if role == "worker" else settings.group_scorer
    store = make_client(settings)
    try:
        store.ping()
        admin = make_admin(settings)
        try:
            members = admin.describe_groups([group])[group]["members"]
        finally:
            admin.close()
    except (RedisError, KafkaError, StreamrecError) as error:
        return f"{role}: {error}"
    finally:
        store.close()
    if is_member(members, addresses):
        return ""
    return f"{role}: none of the {len(members)} members of group {group!r} is at {', '.join(sorted(addresses))}"


def main(arguments: Sequence[str]) -> str | int:
    """Return 0, or a sentence for standard error that makes the exit code 1."""
    if len(arguments) != 1 or arguments[0] not in ROLES:
        return f"usage: health.py {' | '.join(ROLES)}"
    logging.disable()  # what the clients complain of while they try, the sentence says
    try:
        return find_fault(load_settings(), arguments[0], own_addresses()) or 0
    except StreamrecError as error:
        return f"{arguments[0]}: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
