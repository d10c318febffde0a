"""Whether the topics exist that steps produce to."""

import asyncio
from collections.abc import Callable
from functools import partial

from stream_engine.sdk.errors import NoTopicError

TopicExists = Callable[[str], bool | None]
"""Returns whether a topic exists, or None where Kafka does not say; it may block, and is called in a thread."""

Partitions = Callable[[str], int]
"""Returns how many partitions a topic has, 0 if there is none; it blocks until Kafka says so, and is called in a thread."""

Answer = asyncio.Future[bool | None]


class Topics:
    """Remembers which topics exist, and asks about the others; one question at a time for each."""

    def __init__(self, exists: TopicExists | None, partitions: Partitions | None = None) -> None:
        """Prepare; without ``exists``, every topic is taken to exist, and without ``partitions``, to have one partition."""
        self._partitions = partitions
        self._counted: dict[str, asyncio.Future[int]] = {}
        self._exists = exists
        self._known: set[str] = set()
        self._asked: dict[str, Answer] = {}

    async def check(self, topic: str) -> None:
        """Return if a topic exists, or if that cannot be known now: what is sent to it then waits until Kafka takes it.

        Raises:
            NoTopicError: it does not exist.
        """
        if topic in self._known or self._exists is None:
            return
        asked = self._asked.get(topic)
        if asked is None:
            asked = self._asked[topic] = asyncio.get_running_loop().run_in_executor(None, self._exists, topic)
            asked.add_done_callback(partial(self._answered, topic))
        # Others may wait for the same answer when this run is taken away.
        if await asyncio.shield(asked) is False:
            raise NoTopicError(f"there is no topic {topic!r}, and the cluster does not create it")

    async def partitions(self, topic: str) -> int:
        """Return how many partitions the commands topic of an app has, 0 if there is none; one that is there keeps its number."""
        if self._partitions is None:
            return 1
        counted = self._counted.get(topic)
        if counted is None:
            counted = asyncio.get_running_loop().run_in_executor(None, self._partitions, topic)
            self._counted[topic] = counted
        try:
            found = await asyncio.shield(counted)
        except BaseException:
            if counted.done():
                self._counted.pop(topic, None)
            raise
        if not found:
            self._counted.pop(topic, None)
        return found

    def _answered(self, topic: str, answer: Answer) -> None:
        del self._asked[topic]
        if not answer.cancelled() and answer.exception() is None and answer.result():
            self._known.add(topic)
