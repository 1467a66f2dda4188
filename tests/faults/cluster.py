"""A Valkey cluster of three primaries, with or without a replica each, on one machine."""

import contextlib
from pathlib import Path
from typing import Self

import redis
from redis.crc import key_slot

from services.runtime.engine import Command, Engine
from services.runtime.ports import HOST, free_ports
from services.runtime.valkey import Valkey
from tests.waiting import wait_until

PRIMARIES = 3
SLOTS = 16_384
NODE_TIMEOUT_MS = 1000


class ClusterNode(Valkey):
    """A node; its settings beside those of a store of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, is_durable=True)
        (self._bus_port,) = free_ports(1)

    def prepare(self, port: int) -> Command:
        settings = {
            "cluster-enabled": "yes",
            "cluster-port": str(self._bus_port),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
        }
        command = super().prepare(port)
        return Command(
            [*command.argv, *(word for name, value in settings.items() for word in (f"--{name}", value))], {}
        )

    @property
    def bus_port(self) -> int:
        return self._bus_port


class Cluster:
    """The cluster, running; a context manager.

    Args:
        directory: data and logs of the nodes.
        has_replicas: whether each primary has one.

    Attributes:
        url: as ``redis_url`` names it.
    """

    def __init__(self, directory: Path, *, has_replicas: bool = True) -> None:
        self._stack = contextlib.ExitStack()
        count = 2 * PRIMARIES if has_replicas else PRIMARIES
        self._servers = [ClusterNode(directory / f"node{number}") for number in range(count)]
        self.nodes = [self._stack.enter_context(Engine(server)) for server in self._servers]
        self.clients = [self._stack.enter_context(redis.Redis(port=node.port)) for node in self.nodes]
        self._join()
        self.url = f"redis+cluster://{HOST}:{self.nodes[0].port}/0"

    def _join(self) -> None:
        first, others = self.clients[0], zip(self.nodes[1:], self._servers[1:], strict=True)
        for node, server in others:
            first.execute_command("CLUSTER MEET", HOST, node.port, server.bus_port)
        edges = [SLOTS * number // PRIMARIES for number in range(PRIMARIES + 1)]
        for client, start, end in zip(self.clients, edges, edges[1:], strict=False):
            client.execute_command("CLUSTER ADDSLOTSRANGE", start, end - 1)
        ids = [client.execute_command("CLUSTER MYID").decode() for client in self.clients]
        count = len(self.nodes)
        wait_until(lambda: all(len(client.cluster("nodes")) == count for client in self.clients), 20, "nodes have met")
        for client, primary in zip(self.clients[PRIMARIES:], ids, strict=False):
            client.execute_command("CLUSTER REPLICATE", primary)
        wait_until(self._is_whole, 30, "the cluster is whole, and replicas follow")

    def _is_whole(self) -> bool:
        return all(client.cluster("info")["cluster_state"] == "ok" for client in self.clients) and all(
            client.info("replication").get("master_link_status") == "up" for client in self.clients[PRIMARIES:]
        )

    def primary_of(self, key: str) -> int:
        """Return which of the three primaries a key began at; its replica's number is that plus three."""
        return min(key_slot(key.encode()) * PRIMARIES // SLOTS, PRIMARIES - 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
