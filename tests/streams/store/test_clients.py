"""Clients of the store: what they send, and through what."""

import asyncio

import pytest
import redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from streams.settings import Settings
from streams.store.clients import make_async_client

KINDS = {
    "redis://127.0.0.1:1/0": Connection,
    "rediss://127.0.0.1:1/0": SSLConnection,
    "unix:///nowhere.sock": UnixDomainSocketConnection,
    "redis+cluster://127.0.0.1:1": Connection,
    "rediss+cluster://127.0.0.1:1": SSLConnection,
}
COMMAND = ("CONFIG GET", "a\u00e9", b"\x00\r\n", 7, -(2**70), 2.5, "", b"x" * 10_000)
every_kind = pytest.mark.parametrize("url", KINDS)


async def make_connection(url: str) -> AbstractConnection:
    client = make_async_client(Settings(redis_url=url))
    if "cluster" in url:
        return client.startup_nodes[0].acquire_connection()
    return client.connection_pool.make_connection()


@every_kind
def test_a_command_is_packed_in_one_piece_and_as_redis_py_packs_it(url):
    connection = asyncio.run(make_connection(url))
    packed = connection.pack_command(*COMMAND)
    assert len(packed) == 1
    assert packed[0] == b"".join(AbstractConnection.pack_command(connection, *COMMAND))


@every_kind
def test_a_url_keeps_its_kind_of_connection(url):
    assert isinstance(asyncio.run(make_connection(url)), KINDS[url])


def test_nodes_that_a_cluster_tells_of_later_are_talked_to_alike():
    async def kinds() -> tuple[type, type]:
        client = make_async_client(Settings(redis_url="redis+cluster://127.0.0.1:1"))
        return client.startup_nodes[0].connection_class, client.nodes_manager.connection_kwargs["connection_class"]

    first, later = asyncio.run(kinds())
    assert first is later


@pytest.mark.parametrize("value", [None, True, object()])
def test_an_argument_that_is_no_text_and_no_number_is_refused(value):
    connection = asyncio.run(make_connection("redis://127.0.0.1:1/0"))
    with pytest.raises(redis.DataError, match="must be str, int, float or bytes"):
        connection.pack_command("SET", "key", value)


@every_kind
def test_connection_closed_by_another_task_before_the_command_was_written_is_a_lost_connection(url):
    async def send() -> None:
        connection = await make_connection(url)

        async def connect_and_be_closed(**_: object) -> None:
            connection._writer = None

        connection.connect_check_health = connect_and_be_closed
        await connection.send_packed_command([b"PING"])

    with pytest.raises(redis.ConnectionError, match="closed before the command was sent"):
        asyncio.run(send())
