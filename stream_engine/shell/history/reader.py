"""Reads `<app>.history`: a range of it, or what is appended from some place on.

Partitions are assigned by hand and nothing is committed, so a reader is in nobody's way. A range ends where the log ended
when the range was made, never where no more records happen to arrive. A reader belongs to the thread that uses it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from confluent_kafka import OFFSET_INVALID, KafkaException, Message, TopicPartition

from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Decoder, Entry
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

Want = Callable[[bytes, bytes], bool]
Progress = Callable[[int, int], None]
Left = dict[int, tuple[int, int]]

_BATCH: Final = 2_000
_STALLED_SECONDS: Final = 30.0
_TICK_SECONDS: Final = 0.1
# The machines that decide and those that store may differ by as much in what time it is.
_SKEW_MS: Final = 60_000
# Kafka's ListOffsets takes these for times, and one request serves all partitions.
_LATEST: Final = -1
_EARLIEST: Final = -2
_END: Final = "_PARTITION_EOF"
_NO_SUCH_OFFSET: Final = "_AUTO_OFFSET_RESET"
# What brokers say of a partition that is new, or moves to another broker.
_SETTLING: Final = frozenset({"LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "UNKNOWN_TOPIC_OR_PART"})
# The client mends these by itself; a reader of a range notices if it does not.
_PASSING: Final = frozenset({"_ALL_BROKERS_DOWN", "_RESOLVE", "_TIMED_OUT", "_TRANSPORT"})


class HistoryError(UserError):
    """The history of an app cannot be read; the message says why and what to do."""


class Span(NamedTuple):
    """A part of the history topic: ``[start, end)`` in offsets, by partition."""

    start: Mapping[int, int]
    end: Mapping[int, int]


def about(runs: Iterable[str] = (), events: Iterable[str] = ()) -> Want:
    """Return a filter for the records of some runs, of some events, and of the runs that these events start (by their ids).

    It looks at keys and bytes only, so what it keeps may, by chance, be about something else; what it drops is not decoded.
    """
    keys = {run.encode() for run in runs}
    texts = [event.encode() for event in events]

    def want(key: bytes, value: bytes) -> bool:
        if key in keys:
            return True
        if any(text in value for text in texts):
            # What follows about the run does not name its event.
            keys.add(key)
            return True
        return False

    return want


def everything(key: bytes, value: bytes) -> bool:  # noqa: ARG001 - a `Want`
    """The filter that keeps all records."""
    return True


class HistoryReader:
    """Reads the history topic of one app. Close it, or use it in a ``with``."""

    def __init__(self, settings: Settings, app: str) -> None:
        names = Names.of(app)
        self.decoder = Decoder(Published(settings, names.control).schema)
        self._app = app
        self._topic = names.history
        self._address = settings.bootstrap_servers
        self._trouble = Trouble(settings)
        self._consumer = clients.reader(settings, **self._trouble.properties, **{"enable.partition.eof": True})

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the reader."""
        self.close()

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def partitions(self) -> list[int]:
        """Return the numbers of the topic's partitions.

        Raises:
            HistoryError: there is no such topic.
            NoAnswerError: Kafka does not answer.
        """
        try:
            topic = self._consumer.list_topics(self._topic, timeout=ANSWER_SECONDS).topics[self._topic]
        except KafkaException as error:
            raise self._trouble.no_answer(self._consumer, error) from error
        if topic.error is not None or not topic.partitions:
            raise HistoryError(
                f"there is no app {self._app!r} on {self._address}: it has no topic {self._topic}; "
                f"a worker, or `stream-engine topics apply`, creates the topics of an app"
            )
        return sorted(topic.partitions)

    def span(self, partitions: Sequence[int], since: int | None = None) -> Span:
        """Return the part of some partitions from a time (milliseconds since the epoch) to where the log ends now.

        With ``since`` it begins a minute before, as clocks differ; without, where the log begins.

        Raises:
            NoAnswerError: Kafka does not answer.
        """
        end = self._offsets(partitions, _LATEST)
        found = self._offsets(partitions, _EARLIEST if since is None else max(since - _SKEW_MS, 0))
        # A partition without a record of that time or later answers with a negative number, which stands for its end.
        return Span({p: offset if offset >= 0 else end[p] for p, offset in found.items()}, end)

    def read(self, span: Span, want: Want = everything, progress: Progress | None = None) -> Iterator[list[Entry]]:
        """Read a span, and give what was wanted of it in batches, in order within a partition.

        ``progress`` is told how many records have been read or passed over, and how many there are.

        Raises:
            HistoryError: Kafka refuses.
            NoAnswerError: Kafka has not answered for half a minute.
        """
        left = {p: (span.start[p], end) for p, end in span.end.items() if span.start[p] < end}
        total = _size(left)
        self._assign({p: start for p, (start, _) in left.items()})
        answered = monotonic()
        while left:
            messages = self._poll(_TICK_SECONDS)
            if messages:
                answered = monotonic()
            elif monotonic() > answered + _STALLED_SECONDS:
                raise self._trouble.no_answer(self._consumer)
            yield self._entries((message for message in messages if _is_left(message, left)), want)
            self._pass(messages, left)
            if progress is not None:
                progress(total - _size(left), total)

    def follow(self, start: Mapping[int, int], want: Want, seconds: float) -> Iterator[list[Entry]]:
        """Give what is wanted from some offsets on, as it arrives, until so many seconds have passed.

        An empty batch comes at least every 0.1 s, so that whoever waits can look at what else may end the wait. Take the
        offsets before causing what is waited for: those of a `span`'s end, or of a `span`'s start at a time.

        Raises:
            HistoryError: Kafka refuses.
        """
        self._assign(start)
        deadline = monotonic() + seconds
        while (rest := deadline - monotonic()) > 0:
            yield self._entries(self._poll(min(rest, _TICK_SECONDS)), want)

    def _offsets(self, partitions: Sequence[int], at: int) -> dict[int, int]:
        deadline = monotonic() + ANSWER_SECONDS
        while True:
            try:
                found = self._consumer.offsets_for_times(
                    [self._part(p, at) for p in partitions], timeout=ANSWER_SECONDS
                )
                return {part.partition: _offset(part) for part in found}
            except KafkaException as error:
                if error.args[0].name() not in _SETTLING or monotonic() > deadline:
                    raise self._trouble.no_answer(self._consumer, error) from error
            time.sleep(_TICK_SECONDS)

    def _assign(self, start: Mapping[int, int]) -> None:
        self._consumer.assign([self._part(p, offset) for p, offset in start.items()])

    def _poll(self, timeout: float) -> list[Message]:
        """Wait for a record, and take with it what else has arrived; deal with what is no record, but keep ends."""
        first = self._consumer.poll(timeout)
        if first is None:
            return []
        # Asked for many at once and given a timeout, `consume` would wait for all of them.
        return [message for message in [first, *self._consumer.consume(_BATCH, 0)] if self._is_sound(message)]

    def _is_sound(self, message: Message) -> bool:
        error = message.error()
        if error is None or error.name() == _END:
            return True
        if error.name() == _NO_SUCH_OFFSET:
            self._go_on_where_the_log_begins(_partition(message))
        elif error.name() not in _PASSING and not error.retriable():
            raise HistoryError(f"cannot read {self._topic} on {self._address}: {error.str()}")
        return False

    def _go_on_where_the_log_begins(self, partition: int) -> None:
        """Retention has deleted what was to be read; that is no loss to a reader who came late."""
        begin = self.span([partition]).start[partition]
        self._consumer.incremental_unassign([self._part(partition)])
        self._consumer.incremental_assign([self._part(partition, begin)])

    def _entries(self, messages: Iterable[Message], want: Want) -> list[Entry]:
        decode = self.decoder.decode
        found = []
        for message in messages:
            value = message.value()
            if message.error() is None and value is not None and want(message.key() or b"", value):
                entry = decode(value)
                if entry is not None:
                    found.append(Entry(entry.id, entry.record, _partition(message), message.offset() or 0))
        return found

    def _pass(self, messages: Iterable[Message], left: Left) -> None:
        """Note how far each partition has been read, and let go of those that have been read to their ends."""
        for message in messages:
            partition, offset = _partition(message), message.offset()
            if partition not in left or offset is None:
                continue
            # The end of a log tells its own offset, which is that of no record yet.
            after = offset if message.error() is not None else offset + 1
            end = left[partition][1]
            if after < end:
                left[partition] = (after, end)
            else:
                del left[partition]
                self._consumer.incremental_unassign([self._part(partition)])

    def _part(self, partition: int, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(self._topic, partition, offset)


def _offset(found: TopicPartition) -> int:
    if found.error is not None:
        raise KafkaException(found.error)
    return found.offset


def _partition(message: Message) -> int:
    partition = message.partition()
    assert partition is not None
    return partition


def _is_left(message: Message, left: Left) -> bool:
    span, offset = left.get(_partition(message)), message.offset()
    return span is not None and offset is not None and offset < span[1]


def _size(left: Left) -> int:
    return sum(end - start for start, end in left.values())
