"""Which of Redis's errors mean that the store did not answer, and how scripts are called."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from redis import exceptions

from schemas.errors import StoreUnavailable
from streams import metrics
from streams.store.scripts import Script

_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
    OSError,
)
_AWAY_CODES = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY")
"""Answers of a server that cannot serve now, full or failing over; nothing was written."""


@contextlib.contextmanager
def as_unavailable() -> Iterator[None]:
    """Turn the errors of a store that cannot serve now into one of ours.

    Raises:
        StoreUnavailable: no answer, or the answer of a server that is full, read-only or failing over.
    """
    try:
        yield
    except exceptions.NoScriptError:
        raise
    except _AWAY as error:
        metrics.STORE_FAILURES.inc()
        raise StoreUnavailable(f"the store did not answer: {_shown(error)}") from error
    except exceptions.ResponseError as error:
        if str(error).startswith(_AWAY_CODES):
            metrics.STORE_FAILURES.inc()
            raise StoreUnavailable(f"the store cannot serve now: {error}") from error
        raise


def call_script(client: Any, script: Script, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Any:
    """Run a script by a blocking client; a server that does not know it is sent its text.

    Raises:
        StoreUnavailable: see :func:`as_unavailable`.
    """
    with as_unavailable():
        try:
            return client.evalsha(script.sha, len(keys), *keys, *arguments)
        except exceptions.NoScriptError:
            return client.eval(script.body, len(keys), *keys, *arguments)


async def call_script_async(client: Any, script: Script, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Any:
    """Run a script by a client of an event loop, as :func:`call_script` does."""
    with as_unavailable():
        try:
            return await client.evalsha(script.sha, len(keys), *keys, *arguments)
        except exceptions.NoScriptError:
            return await client.eval(script.body, len(keys), *keys, *arguments)


def _shown(error: BaseException) -> str:
    return str(error) or repr(error)
