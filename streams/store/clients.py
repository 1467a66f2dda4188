"""Redis clients: retries off, so that a call whose outcome is unknown is never sent twice."""

from typing import Any

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


def make_async_client(settings: Settings) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    """Return a client for an event loop; URLs as for :func:`make_client`.

    Raises:
        ConfigurationError: the URL is not one of Redis.
    """
    arguments = _arguments(settings) | {"retry": AsyncRetry(NoBackoff(), 0)}
    try:
        if CLUSTER_SCHEME in settings.redis_url:
            return redis.asyncio.RedisCluster.from_url(settings.redis_url.replace(CLUSTER_SCHEME, "://"), **arguments)
        return redis.asyncio.Redis.from_url(settings.redis_url, **arguments)
    except ValueError as error:
        raise ConfigurationError(f"redis_url {without_password(settings.redis_url)!r}: {error}") from error
