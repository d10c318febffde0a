"""Sending events to an app, and starting its functions, from anywhere."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stream_engine.core.functions.flow import PLAIN, Flow
from stream_engine.core.functions.match import Wish, match
from stream_engine.core.identity import event_identity, home_partition, run_id, run_name
from stream_engine.core.records.journal import Event as EventRecord
from stream_engine.core.routing.receive import MAX_DELAY
from stream_engine.sdk.codec import Decode
from stream_engine.sdk.errors import epoch_ms
from stream_engine.sdk.event_types import EventTypes
from stream_engine.sdk.events import Event, Message, data_json, key_bytes
from stream_engine.sdk.handle import RunHandle, SyncRunHandle
from stream_engine.sdk.middleware import Middleware, surround
from stream_engine.sdk.scope import sent_by
from stream_engine.sdk.transport import Transport, make_transport

Clock = Callable[[], int]
"""Returns the time, in milliseconds since the epoch."""


def wall_clock() -> int:
    """Return the machine's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Client:
    """What an engine sends with. The transport is made when something is first sent."""

    def __init__(self, app: str, events_topic: str, types: EventTypes, middleware: Middleware) -> None:
        self.clock: Clock = wall_clock
        self._app = app
        self._events_topic = events_topic
        self._types = types
        self._middleware = middleware
        self._transport: Transport | None = None
        self._partitions = 0

    @contextmanager
    def instead(self, transport: Transport, clock: Clock) -> Iterator[None]:
        """Send with another transport and clock for a while."""
        before = self._transport, self.clock, self._partitions
        self._transport, self.clock, self._partitions = transport, clock, 0
        try:
            yield
        finally:
            self._transport, self.clock, self._partitions = before

    def close(self) -> None:
        """Send what is still buffered, and let go of the transport."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    async def send(self, events: Event[Any] | Iterable[Event[Any]]) -> list[str]:
        """Send events; return their ids."""
        batch = listed(events)

        async def produce() -> list[str]:
            messages = self._messages(batch)
            places = await asyncio.wrap_future(self._connected().send(messages))
            return _ids(batch, places)

        ids: list[str] = await surround(self._middleware.sends, (batch,), produce)()
        return ids

    def send_sync(self, events: Event[Any] | Iterable[Event[Any]]) -> list[str]:
        """Send events and wait until Kafka has them; return their ids."""
        if self._middleware.sends:
            return asyncio.run(self.send(events))
        batch = listed(events)
        return _ids(batch, self._connected().send(self._messages(batch)).result())

    async def start(self, function: str, event: Event[Any], decode: Decode, flow: Flow = PLAIN) -> RunHandle[Any]:
        """Send the event that starts a function, which has this flow control; return the run.

        Raises:
            ValueError: a key of the flow control cannot be told from the event.
        """
        if not self._partitions:
            # Before the event is sent: results are followed from here on.
            self._partitions = await asyncio.wrap_future(self._connected().partitions())
        run = self._run(function, event, flow)
        await self.send(event)
        return RunHandle(run, self._connected(), decode)

    def start_sync(self, function: str, event: Event[Any], decode: Decode, flow: Flow = PLAIN) -> SyncRunHandle[Any]:
        """See `start`."""
        if not self._partitions:
            self._partitions = self._connected().partitions().result()
        run = self._run(function, event, flow)
        self.send_sync(event)
        return SyncRunHandle(run, self._connected(), decode)

    def _messages(self, batch: list[Event[Any]]) -> list[Message]:
        latest = self.clock() + MAX_DELAY
        for event in batch:
            if event.ts is not None and event.ts.timestamp() * 1_000 > latest:
                raise ValueError(f"Event {event.name!r}: ts={event.ts.isoformat()} is more than 366 days ahead")
        by, messages = sent_by(), [self._types.message(event) for event in batch]
        return messages if by is None else [message._replace(headers=[*by.headers]) for message in messages]

    def _run(self, function: str, event: Event[Any], flow: Flow) -> str:
        assert event.id is not None
        by, identity = sent_by(), event_identity(event.id, "", 0, 0)
        # What a replayed run sends is of its replay.
        replay_id = None if by is None else by.replay_id
        home = home_partition(identity, self._partitions)
        if flow != PLAIN:
            # A run lives where its key does.
            ts = self.clock() if event.ts is None else epoch_ms(event.ts)
            where = (self._events_topic, 0, 0)
            record = EventRecord(event.name, identity, event.id, ts, ts, *where, data_json(event), key_bytes(event.key))
            matched = match([Wish(function, None, flow, ())], record, self._partitions, replay_id)
            for unfit in matched.unfit:
                raise ValueError(f"function {function!r} cannot be started with this: {unfit.detail}")
            home = next((asked.home for asked in matched.asked if asked.home >= 0), home)
        return run_id(run_name(self._app, function, identity, replay_id), home)

    def _connected(self) -> Transport:
        if self._transport is None:
            self._transport = make_transport(self._app, self._events_topic)
        return self._transport


def listed(events: Event[Any] | Iterable[Event[Any]]) -> list[Event[Any]]:
    """Return one or more events as a list.

    Raises:
        TypeError: something else is among them.
    """
    batch = [events] if isinstance(events, Event) else list(events)
    for event in batch:
        if not isinstance(event, Event):
            raise TypeError(f"{event!r} is not an event; write Event(name, data), or a list of these")
    return batch


def _ids(batch: Sequence[Event[Any]], places: list[str]) -> list[str]:
    return [event.id or place for event, place in zip(batch, places, strict=True)]
