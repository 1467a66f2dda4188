"""The ratings topic's id as the broker has it now, asked once for all who want to know."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from schemas.errors import TopicReplaced

AskTopicId = Callable[[], Awaitable[str]]


class TopicGuard:
    """Refuses a batch that may come from another topic of the same name.

    A topic that is deleted and made again goes on under the same name. Apache Kafka's clients see it vanish; a broker
    that serves on at the old offsets does not show the gap, so there a batch is applied only when the id was asked for
    after the batch was fetched.

    Args:
        topic: its name.
        ask: asks the broker for the topic's id.
        max_age_s: how old the answer may be when a batch is applied; 0 asks after every fetch.
        clock: seconds from any origin.
    """

    def __init__(
        self, topic: str, ask: AskTopicId, max_age_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic = topic
        self._ask = ask
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_at = -float("inf")
        self._known = ""

    @property
    def age_s(self) -> float:
        """How long ago the broker was last asked and answered; infinite before it did."""
        return self._clock() - self._asked_at

    async def current(self) -> str:
        """Return the id, asked for now.

        Raises:
            TopicReplaced: the topic is gone.
            BusUnavailable: no answer; asking again is safe.
        """
        asked_at = self._clock()
        self._known = await self._ask()
        self._asked_at = asked_at
        return self._known

    async def confirm(self, topic_id: str, fetched_at: float) -> None:
        """Return when the topic still had this id at ``fetched_at``, or ``max_age_s`` before.

        Raises:
            TopicReplaced: it has another one, or is gone.
            BusUnavailable: no answer; asking again is safe.
        """
        async with self._lock:
            if self._asked_at < fetched_at - self._max_age_s:
                await self.current()
        if self._known != topic_id:
            raise TopicReplaced(
                f"topic {self._topic!r} had id {topic_id}, it was made again with id {self._known}: what was fetched "
                "may be the new one's and was not applied"
            )

    async def watch(self, every_s: float, on_unavailable: Callable[[Exception], None]) -> None:
        """Ask now and then, for as long as the id stays the same.

        Raises:
            TopicReplaced: it has another one, or is gone.
        """
        known = ""
        while True:
            try:
                topic_id = await self.current()
            except TopicReplaced:
                raise
            except Exception as error:  # noqa: BLE001 - a broker that is away is not a topic that is gone
                on_unavailable(error)
            else:
                known = known or topic_id
                if topic_id != known:
                    raise TopicReplaced(f"topic {self._topic!r} had id {known}, it was made again with id {topic_id}")
            await asyncio.sleep(every_s)
