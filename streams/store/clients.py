"""Redis clients: retries off, so that a call whose outcome is unknown is never sent twice."""

from typing import Any

import hiredis
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.errors import ConfigurationError
from streams.settings import Settings

CLUSTER_SCHEME = "+cluster://"


def without_password(url: str) -> str:
    """Return a URL without user and password: nothing before its last @, wherever that is.

    >>> without_password("redis://user:secret@host:6379/0")
    'redis://host:6379/0'
    """
    scheme, mark, rest = url.partition("://")
    return scheme + mark + rest.rpartition("@")[2]


def _arguments(settings: Settings) -> dict[str, Any]:
    return {
        "socket_timeout": settings.store_timeout_s,
        "socket_connect_timeout": settings.store_timeout_s,
        "decode_responses": False,
    }


def make_client(settings: Settings) -> redis.Redis | redis.RedisCluster:
    """Return a blocking client; ``redis+cluster://`` and ``rediss+cluster://`` URLs give a cluster client.

    Raises:
        ConfigurationError: the URL is not one of Redis.
    """
    arguments = _arguments(settings) | {"retry": Retry(NoBackoff(), 0)}
    try:
        if CLUSTER_SCHEME in settings.redis_url:
            return redis.RedisCluster.from_url(settings.redis_url.replace(CLUSTER_SCHEME, "://"), **arguments)
        return redis.Redis.from_url(settings.redis_url, **arguments)
    except ValueError as error:
        raise ConfigurationError(f"redis_url {without_password(settings.redis_url)!r}: {error}") from error


class _OwnConnection:
    """What redis-py's asyncio connections do otherwise.

    Commands are packed by hiredis, not argument by argument in Python: a commit has thousands, and packing them took a
    third of the worker's time. And a connection that another task closed before the command was written, as a cluster's
    client does when a node is gone, is a lost connection, not an AttributeError.
    """

    _writer: Any

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return a command as it is sent; a name of several words counts as several arguments."""
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        try:
            return [hiredis.pack_command((*name.split(), *args[1:]))]
        except TypeError as error:
            raise redis.DataError(str(error)) from error

    async def _send_packed_command(self, command: Any) -> None:
        if self._writer is None:
            raise redis.ConnectionError("the connection was closed before the command was sent")
        await super()._send_packed_command(command)  # type: ignore[misc]


def _own(kind: type[Any]) -> type[Any]:
    """Return a class of connections with what we do otherwise."""
    return type(kind.__name__, (_OwnConnection, kind), {})


def _use_own_connections(client: redis.asyncio.Redis | redis.asyncio.RedisCluster) -> None:
    if isinstance(client, redis.asyncio.RedisCluster):
        kind = _own(client.connection_kwargs["connection_class"])
        client.connection_kwargs["connection_class"] = kind
        for node in client.startup_nodes:
            node.connection_class = kind
    else:
        client.connection_pool.connection_class = _own(client.connection_pool.connection_class)


def make_async_client(settings: Settings) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    """Return a client for an event loop; URLs as for :func:`make_client`.

    Raises:
        ConfigurationError: the URL is not one of Redis.
    """
    arguments = _arguments(settings) | {"retry": AsyncRetry(NoBackoff(), 0)}
    client: redis.asyncio.Redis | redis.asyncio.RedisCluster
    try:
        if CLUSTER_SCHEME in settings.redis_url:
            client = redis.asyncio.RedisCluster.from_url(settings.redis_url.replace(CLUSTER_SCHEME, "://"), **arguments)
        else:
            client = redis.asyncio.Redis.from_url(settings.redis_url, **arguments)
    except ValueError as error:
        raise ConfigurationError(f"redis_url {without_password(settings.redis_url)!r}: {error}") from error
    _use_own_connections(client)
    return client
