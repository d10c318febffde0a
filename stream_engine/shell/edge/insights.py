"""The Faust app that counts an app's history into `<app>.insights`, whose values `stream_engine.core.views.insights` describes.

The table of windows has that topic as its changelog, so what readers see is what it is rebuilt from. Counting goes on in
memory; once a second, and behind each few thousand records, the windows that changed are written, and only when Kafka has
them are the records acknowledged that they were counted from.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException, TopicPartition

from stream_engine.core.views.insights import Counted, Ids, Window, place
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.edge.faust_app import Acks, EdgeApp, Prepare, edge_app, guarded, table, within
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Decoder, Entry
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import DAY_MS, Names, Wanted, partition_count

_log = logging.getLogger(__name__)

KEPT_MS: Final = DAY_MS
_FLUSH_SECONDS: Final = 1.0
_FLUSH_RECORDS: Final = 4_000
_SWEEP_SECONDS: Final = 600.0
_REMEMBERED: Final = 10_000
_ASK_AGAIN_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 30.0

encode_window: Final = msgspec.json.Encoder().encode
decode_window: Final = msgspec.json.Decoder(Window).decode
encode_counted: Final = msgspec.json.Encoder().encode
decode_counted: Final = msgspec.json.Decoder(Counted).decode


def insights_app(settings: Settings, app: str) -> EdgeApp:
    """Return the Faust app that counts the history of an app.

    Raises:
        UserError: the app has no history topic, or Kafka cannot be asked.
    """
    names = Names.of(app)

    def prepare() -> str:
        partitions = partition_count(clients.admin(settings), names.history)
        if not partitions:
            raise UserError(
                f"there is no app {app!r}: it has no topic {names.history}; a worker creates an app's topics"
            )
        own = Wanted(names.insights, partitions, "compact,delete", KEPT_MS + DAY_MS)
        return Prepare(settings, names.insights, [own], [names.history])()

    faust_app = edge_app(settings, names.insights, prepare)
    counting = Counting(faust_app, settings, names)
    history = faust_app.topic(names.history, key_type=bytes, value_type=bytes, value_serializer="raw", allow_empty=True)
    faust_app.agent(history, name="count", concurrency=1)(guarded(faust_app, counting.count))
    faust_app.timer(interval=_FLUSH_SECONDS)(guarded(faust_app, counting.flush))
    faust_app.timer(interval=_SWEEP_SECONDS)(guarded(faust_app, counting.sweep))
    faust_app.on_partitions_revoked.connect(counting.forget, weak=False)
    return faust_app


class _Lane:
    """What is in memory of one partition of history: its windows, and which of them changed since they were written."""

    def __init__(self, ids: Ids, first: Any) -> None:
        self.ids = ids
        self.windows: dict[Window, Counted] = {}
        self.changed: set[Window] = set()
        self.last = first
        self._next = first.message.offset

    def follow(self, event: Any) -> None:
        """Note that a record has come. It may come twice; one that never comes would be missing in the figures for good."""
        offset = event.message.offset
        if offset > self._next:
            where = f"{event.message.topic}/{event.message.partition}"
            raise UserError(f"{where}: the records from {self._next} to {offset - 1} were passed over")
        self.last, self._next = event, max(self._next, offset + 1)


class Counting:
    """Counts what the agent takes, and writes it."""

    def __init__(self, app: EdgeApp, settings: Settings, names: Names) -> None:
        self._settings = settings
        self._names = names
        self._table = table(app, "windows", names.insights)
        self._acks = Acks(self._table)
        self._decoder = Decoder(_Schemas(settings, names.control))
        self._lanes: dict[int, _Lane] = {}
        # Which distribution of the partitions this is.
        self._share = 0

    async def count(self, stream: Any) -> None:
        """The agent: count each record of history."""
        events: AsyncIterator[Any] = stream.noack().events()
        waiting = 0
        async for event in events:
            message = event.message
            lane = self._lanes.get(message.partition)
            if lane is None:
                share = self._share
                ids = await asyncio.to_thread(self._ids_before, message.partition, message.offset)
                if share != self._share:
                    # The partition may be another's by now; if it is not, this record comes again, behind those before it.
                    continue
                lane = self._lanes[message.partition] = _Lane(ids, event)
            lane.follow(event)
            entry = self._decoder.decode(event.value or b"")
            if entry is not None:
                self._count(lane, entry, message.partition, message.offset)
            self._acks.add(event)
            waiting += 1
            if waiting >= _FLUSH_RECORDS:
                waiting = 0
                await self.flush()

    async def flush(self, *_: Any) -> None:
        """Write the windows that changed, and acknowledge what was counted in them once Kafka has them."""
        for lane in self._lanes.values():
            self._write(lane)
        await self._acks.flush()

    async def sweep(self, *_: Any) -> None:
        """Delete windows that nobody asks for any more."""
        oldest = now_ms() - KEPT_MS
        latest = {partition: lane.last for partition, lane in self._lanes.items()}
        await self._table.expire(latest, lambda key, _: decode_window(key).start < oldest)

    async def forget(self, *_: Any, **__: Any) -> None:
        """Partitions go to others: what they were counted up to is in the topic, and the rest is counted by those."""
        self._lanes.clear()
        self._acks.forget()
        self._share += 1

    def _count(self, lane: _Lane, entry: Entry, partition: int, offset: int) -> None:
        is_new = lane.ids.is_new(entry.id)
        window = place(entry.record, partition)
        if window is None:
            return
        counted = lane.windows.get(window)
        if counted is None:
            text = self._table.get(encode_window(window))
            counted = lane.windows[window] = Counted() if text is None else decode_counted(text)
        # A window that has counted this already is written again all the same: the topic may lack what the table has.
        lane.changed.add(window)
        if offset > counted.offset:
            counted.offset = offset
            if is_new:
                counted.figures.count(entry.record)

    def _write(self, lane: _Lane) -> None:
        within(lane.last)
        for window in lane.changed:
            self._table[encode_window(window)] = encode_counted(lane.windows[window])
        lane.changed.clear()
        if lane.windows:
            newest = max(window.start for window in lane.windows)
            lane.windows = {window: value for window, value in lane.windows.items() if window.start >= newest - 120_000}

    def _ids_before(self, partition: int, offset: int) -> Ids:
        """Return the ids of the records before an offset, as far back as repeats may reach."""
        ids = Ids(_REMEMBERED)
        topic = self._names.history
        consumer = clients.reader(self._settings)
        try:
            there = clients.offsets(consumer, topic, partition)
            at = max(there.start, offset - _REMEMBERED)
            consumer.assign([TopicPartition(topic, partition, at)])
            deadline = monotonic() + _ANSWER_SECONDS
            while at < offset:
                for message in consumer.consume(_REMEMBERED, 0.1):
                    error = message.error()
                    if error is not None:
                        raise KafkaException(error)
                    at, deadline = (message.offset() or 0) + 1, monotonic() + _ANSWER_SECONDS
                    entry = self._decoder.decode(message.value() or b"") if at <= offset else None
                    if entry is not None:
                        ids.is_new(entry.id)
                if monotonic() > deadline:
                    raise UserError(f"Kafka does not give the records of {topic}/{partition} before {offset}")
        finally:
            consumer.close()
        return ids


class _Schemas:
    """Asks for the schemas of other versions, and not more often than now and then."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._published = Published(settings, topic)
        self._asked = 0.0

    def __call__(self, fingerprint: str) -> str | None:
        if monotonic() > self._asked + _ASK_AGAIN_SECONDS:
            self._asked = monotonic()
            self._published = Published(self._settings, self._topic)
        return self._published.schema(fingerprint)
