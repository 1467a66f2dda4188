import asyncio

import pytest
from redis import exceptions

from schemas.errors import StoreUnavailable
from streams.store.writer import StateWriter


class Refusing:
    def __init__(self, error):
        self._error = error

    async def get(self, _key):
        raise self._error


def ask(error):
    return asyncio.run(StateWriter(Refusing(error), "n", 1, "scale").generation())


@pytest.mark.parametrize(
    "error",
    [
        exceptions.OutOfMemoryError("OOM command not allowed"),
        exceptions.ReadOnlyError("READONLY You can't write against a read only replica."),
        exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"),
        exceptions.MasterDownError("MASTERDOWN"),
        exceptions.TryAgainError("TRYAGAIN"),
        exceptions.RedisClusterException("Redis Cluster cannot be connected"),
        exceptions.ConnectionError("refused"),
        exceptions.TimeoutError("late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_store_that_is_full_or_failing_over_is_asked_again_later(error):
    with pytest.raises(StoreUnavailable, match=r"the store (did not answer|cannot serve now)"):
        ask(error)


def test_a_store_that_refuses_a_wrong_call_is_not_asked_again():
    with pytest.raises(exceptions.ResponseError):
        ask(exceptions.ResponseError("WRONGTYPE"))
