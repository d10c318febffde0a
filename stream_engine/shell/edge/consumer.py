"""The consumer of a Faust app, made to seek while nothing is read.

What Faust (0.15) does once tables are recovered: it resumes the sources, asks Kafka for the committed offsets and seeks there, and then empties
the agents' queues. As it reads on meanwhile, three things go wrong (faust-streaming#596):

* A record that is read between the seek and the emptying is dropped, and comes only after the next start.
* A batch that is handed out during the seek goes on behind it. The records before are taken for a gap, which is committed like what was acknowledged: a crash
  loses them.
* Faust seeks only where something is committed. Of other partitions, what has been read and dropped stays dropped.

So `perform_seek` stops the flow, waits until the reading has come to rest, and seeks everywhere. All that calls it lets the flow go on afterwards.
"""

import asyncio
from typing import Any

from faust.transport.drivers import aiokafka as driver


class SeekingConsumer(driver.Consumer):  # type: ignore[misc, unused-ignore]  # Faust's classes are untyped here
    """Reads nothing while it seeks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See Faust's own."""
        super().__init__(*args, **kwargs)
        self._reading: asyncio.Task[Any] | None = None
        self._resting = asyncio.Event()

    async def perform_seek(self) -> None:
        """Seek all sources to their committed offsets, those that have none to their first; leave the flow stopped."""
        if asyncio.current_task() is self._reading:
            # What the reading itself has got while the flow was stopped is read again: a seek comes before the flow goes on.
            return
        self.stop_flow()
        if self._reading is not None and not self._reading.done():
            await self._resting.wait()
        await super().perform_seek()
        changelogs = self.app.tables.changelog_topics
        sources = [part for part in self.assignment() if part.topic not in changelogs]
        if uncommitted := [part for part in sources if not self._committed_offset.get(part)]:
            first = await self.earliest_offsets(*uncommitted)
            await self.seek_wait({part: first[part] or 0 for part in uncommitted})

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - as Faust has it
        self._reading = asyncio.current_task()
        while not self.flow_active and not self.should_stop:
            self._resting.set()
            await self.wait(self.can_resume_flow)
            self._resting.clear()
        return await super()._wait_next_records(timeout)
