"""What a simulated leader sends and tells: outbox queues in order, history up to an acknowledged mark."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from stream_engine.core.partition.change import Told
from stream_engine.core.partition.outbox import entry_parts
from stream_engine.core.records.journal import Mark
from stream_engine.core.records.tables import Outgoing
from tests.simulation.kafka import Draft, Producer, Report
from tests.simulation.referee import Referee
from tests.simulation.schedule import MILLISECOND
from tests.simulation.term import Term

RETRY = 20 * MILLISECOND


@dataclass(frozen=True)
class Channel:
    """How a term writes to topics other than its journal."""

    term: Term
    producer: Producer
    referee: Referee
    history_topic: str


@dataclass
class _Queue:
    entries: deque[tuple[bytes, Outgoing]] = field(default_factory=deque)
    acknowledged: set[bytes] = field(default_factory=set)
    in_flight: int = 0
    broken: bool = False


class Sender:
    """The outbox of a term: several messages of a queue are under way at once, and a failure has all sent again."""

    def __init__(self, channel: Channel, sent: Callable[[bytes], None]) -> None:
        self._channel = channel
        self._sent = sent
        self._queues: dict[str, _Queue] = {}

    def send(self, key: bytes, message: Outgoing) -> None:
        """Send a message behind those of its queue."""
        queue = self._queues.setdefault(entry_parts(key)[0], _Queue())
        queue.entries.append((key, message))
        if not queue.broken:
            self._produce(queue, key, message)

    def _produce(self, queue: _Queue, key: bytes, message: Outgoing) -> None:
        channel = self._channel
        channel.referee.sends(channel.term.host, channel.term.partition, key, message)
        queue.in_flight += 1
        # Without a partition go dead letters, whose topic has one.
        partition = message.partition or 0
        draft = Draft(message.value, message.key, message.headers)
        channel.producer.append(message.topic, partition, draft, lambda report: self._reported(queue, key, report))

    def _reported(self, queue: _Queue, key: bytes, report: Report) -> None:
        queue.in_flight -= 1
        if report.ok:
            queue.acknowledged.add(key)
        else:
            queue.broken = True
        while not queue.broken and queue.entries and queue.entries[0][0] in queue.acknowledged:
            first, _ = queue.entries.popleft()
            queue.acknowledged.discard(first)
            self._sent(first)
            self._channel.term.wake()
        if queue.broken and not queue.in_flight:
            self._channel.term.host.at(RETRY, lambda: self._retry(queue))

    def _retry(self, queue: _Queue) -> None:
        if self._channel.term.over:
            return
        queue.broken = False
        queue.acknowledged.clear()
        for key, message in queue.entries:
            self._produce(queue, key, message)


class Teller:
    """The tellings of a term, in journal order."""

    def __init__(self, channel: Channel, told: Callable[[Mark], None]) -> None:
        self._channel = channel
        self._told = told
        self._tellings: deque[tuple[Told, set[int]]] = deque()

    def tell(self, told: Told) -> None:
        """Tell what a journal record says."""
        open_records = set(range(len(told.records)))
        self._tellings.append((told, open_records))
        for index in range(len(told.records)):
            self._produce(told, index, open_records)
        self._settle()

    def _produce(self, told: Told, index: int, open_records: set[int]) -> None:
        channel = self._channel
        term = channel.term
        if term.over:
            return
        name = f"{term.partition}/{told.mark.epoch}/{told.mark.n}/{index}"
        value = msgspec.msgpack.encode(told.records[index])
        channel.referee.tells(term.host, term.partition, told, name)

        def reported(report: Report) -> None:
            if report.ok:
                open_records.discard(index)
                self._settle()
            else:
                term.host.at(RETRY, lambda: self._produce(told, index, open_records))

        channel.producer.append(channel.history_topic, term.partition, Draft(value, name.encode()), reported)

    def _settle(self) -> None:
        for told in self._acknowledged():
            self._told(told.mark)
            self._channel.term.wake()

    def _acknowledged(self) -> Iterator[Told]:
        while self._tellings and not self._tellings[0][1]:
            yield self._tellings.popleft()[0]
