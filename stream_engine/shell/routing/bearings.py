"""How far events are routed, as the control topic and the group have it, read and written in the order that `core.rewind` asks for."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final
from uuid import uuid4

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_engine.core.partition.intake import router_source
from stream_engine.core.routing import rewound
from stream_engine.core.routing.ahead import admitted, ahead
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import (
    Committed,
    Course,
    Progress,
    Rewind,
    Topic,
    course,
    is_of_another,
    needs_control,
    read_mark,
)
from stream_engine.shell.clients import offsets
from stream_engine.shell.clock import now_ms
from stream_engine.shell.control import Control, write
from stream_engine.shell.reading import TO_THE_END, read
from stream_engine.shell.topics import Names

_log = logging.getLogger(__name__)
_PROGRESS: Final = "progress/"
_BEGUN: Final = "begun/"
_UNLIMITED: Final = 1 << 30
_ANSWER_SECONDS: Final = 30.0

REWIND: Final = "rewind/"
"""What the keys of the control topic begin with that have rewinds."""

SKIP: Final = "skip/"
"""The same for what an operator passed over: ``skip/<id of the topic>/<partition>/<offset behind it>``."""

TopicId = tuple[str, str]
"""The name and the id of a topic."""


class Skip(msgspec.Struct, frozen=True):
    """Events that an operator passed over: ``[start, stop)`` in offsets; ``at`` is when a worker found so, in milliseconds since the epoch."""

    start: int
    stop: int
    at: int


class Bearings:
    """The `Plan` of live routing: from where the group and the control topic say, as fast as can be."""

    def __init__(
        self,
        topics: Sequence[TopicId],
        names: Names,
        connect: Callable[..., Consumer],
        producer: Producer,
        followed: Callable[[str], Mapping[str, bytes]],
        *,
        earliest: bool,
    ) -> None:
        """``topics`` has the topic that is routed, and then all others that the group reads. ``connect`` makes a consumer to read the control topic with, and that of commands; ``followed`` has its values by prefix as far as they are known anyway.

        ``earliest``: where a group without offsets begins.
        """
        (self._topic, self._topic_id), *self._others = topics
        self._control = names.control
        self._commands = names.commands
        self._connect = connect
        self._producer = producer
        self._followed = followed
        self._earliest = earliest
        self._me = uuid4().hex[:12]
        self._rewinds: dict[str, Rewind] = {}
        self._failing = False
        self._again: dict[int, str] = {}

    def begin(self, consumer: Consumer, partitions: Iterable[int]) -> dict[int, Progress]:
        """Return where partitions are routed from that the group assigns; rewinds and skips are written down by then.

        Raises:
            ControlError: the control topic cannot be read or written.
        """
        known = self._committed(consumer, self._topic)
        wanted = list(partitions)
        topics = {self._topic_id: Topic(known, {})}
        first = 0
        if any(needs_control(known.get(number)) for number in wanted):
            committed = {topic_id: self._committed(consumer, topic) for topic, topic_id in self._others}
            routed = self._routed({self._topic_id: known, **committed})
            control = self._read()
            progress = {topic_id: newest_progress(control, topic_id) for topic_id in (self._topic_id, *committed)}
            first = self._first_partitions(control, progress[self._topic_id])
            topics = {
                topic_id: Topic(found, progress[topic_id], ahead(routed.get(topic_id, {}), progress[topic_id]))
                for topic_id, found in {self._topic_id: known, **committed}.items()
            }
        found: dict[int, Progress] = {}
        for number in wanted:
            if is_of_another(known.get(number), self._topic_id):
                _log.warning("%s was created again; it is routed from its first event on", self._topic)
                found[number] = self._fresh(number, earliest=True)
                continue
            one = course(self._topic_id, number, topics, self._rewinds.values())
            if one is not None:
                self._write_down(number, one)
            # What came into a partition that was added later, nobody has decided to pass over.
            found[number] = one.progress if one else self._fresh(number, earliest=self._earliest or number >= first)
        return found

    def extent(self, topic: str, progress: Progress) -> Extent | None:
        """Return what belongs to the replay that a partition is in, if it is in one."""
        if not progress.is_again:
            return None
        return rewound.extent(self._rewinds[progress.replay], [(topic, self._topic_id), *self._others])

    def note(self, progress: Mapping[int, Progress], noted: Callable[[], None]) -> None:
        """Write down how far partitions are routed; call ``noted`` from the producer's `poll` once Kafka has all of it."""
        left = len(progress)

        def delivered(error: object, _: object) -> None:
            nonlocal left
            if error is not None:
                # It is tried again twice a second, for as long as Kafka is away.
                _log.log(
                    logging.DEBUG if self._failing else logging.WARNING,
                    "could not write down how far %s is routed: %s",
                    self._topic,
                    error,
                )
                self._failing = True
                return
            self._failing = False
            left -= 1
            if not left:
                noted()

        for number, one in progress.items():
            self._produce(self._key(number, self._me), msgspec.json.encode(one), delivered)
            self._say_what_is_over(number, one)

    def _say_what_is_over(self, number: int, progress: Progress) -> None:
        if progress.replay:
            self._again[number] = progress.replay
        elif number in self._again:
            _log.info(
                "%s/%d: replay %s is routed, and what came later is live", self._topic, number, self._again.pop(number)
            )

    def joined(self, progress: Mapping[int, Progress]) -> None:
        """Delete what workers before this one have written down of partitions, and is no news any more."""
        for number, one in progress.items():
            for member, raw in self._followed(self._key(number, "")).items():
                if member != self._me and msgspec.json.decode(raw, type=Progress) <= one:
                    self._produce(self._key(number, member), None, _ignore)

    def most(self, lanes: int, assigned: Collection[int]) -> int:  # noqa: ARG002 - a `Plan`
        """Set no limit."""
        return _UNLIMITED

    def took(self, events: int) -> None:
        """Set no limit."""

    def over(self, consumer: Consumer) -> None:
        """Live routing is never over."""

    def _produce(self, key: str, value: bytes | None, delivered: Callable[[object, object], None]) -> None:
        try:
            self._producer.produce(self._control, value, key, 0, on_delivery=delivered)
        except BufferError:
            delivered("the client's queue is full", None)

    def _committed(self, consumer: Consumer, topic: str) -> dict[int, Committed]:
        """Return what the group has for all partitions of a topic.

        The producer is asked which there are: in a callback of a consumer, which keeps one call at a time in mind, asking that one would
        end the process at its next callback.
        """
        numbers = self._producer.list_topics(topic, timeout=30).topics[topic].partitions
        parts = consumer.committed([TopicPartition(topic, number) for number in numbers], timeout=30)
        return {part.partition: Committed(part.offset, part.metadata or "") for part in parts if part.offset >= 0}

    def _routed(self, committed: Mapping[str, Mapping[int, Committed]]) -> dict[str, dict[int, set[int]]]:
        """Return which events the commands topic has that were routed live, of partitions whose offset somebody has set, by the topics' ids."""
        sources = {
            router_source(topic_id, number, None): (topic_id, number)
            for topic_id, found in committed.items()
            for number, one in found.items()
            if read_mark(one.metadata) is None
        }
        routed: dict[str, dict[int, set[int]]] = {}
        if not sources:
            return routed
        consumer = self._connect(**TO_THE_END)
        try:
            numbers = consumer.list_topics(self._commands, timeout=_ANSWER_SECONDS).topics[self._commands].partitions
            spans = {number: offsets(consumer, self._commands, number) for number in numbers}
            for message in read(consumer, self._commands, spans, _ANSWER_SECONDS):
                for (topic_id, number), found in admitted(message.value() or b"", sources):
                    routed.setdefault(topic_id, {}).setdefault(number, set()).update(found)
        except TimeoutError as error:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the commands cannot be read")) from error  # noqa: SLF001 - the client's name for it
        finally:
            consumer.close()
        return routed

    def _first_partitions(self, control: Control, progress: Mapping[int, Progress]) -> int:
        """Return how many partitions the topic had when the app began to route it; whoever asks first writes it down."""
        key = _BEGUN + self._topic_id
        raw = control.value(key)
        if raw is not None:
            return int(raw)
        there = len(self._producer.list_topics(self._topic, timeout=30).topics[self._topic].partitions)
        count = max(progress) + 1 if progress else there
        write(self._producer, self._control, {key: str(count).encode()})
        return count

    def _fresh(self, partition: int, *, earliest: bool) -> Progress:
        consumer = self._connect()
        try:
            there = offsets(consumer, self._topic, partition)
        finally:
            consumer.close()
        start = there.start if earliest else there.stop
        return Progress(0, start, start)

    def _write_down(self, partition: int, found: Course) -> None:
        if found.opens is not None and found.opens.id not in self._rewinds:
            rewind = msgspec.structs.replace(found.opens, at=now_ms())
            write(self._producer, self._control, {REWIND + rewind.id: msgspec.json.encode(rewind)})
            self._rewinds[rewind.id] = rewind
            names = {topic_id: topic for topic, topic_id in ((self._topic, self._topic_id), *self._others)}
            spans = ", ".join(
                f"{names[topic_id]}/{number}: {start} to {stop}"
                for topic_id in (rewind.topic, *rewind.others)
                for number, (start, stop) in rewind.of(topic_id).items()
            )
            behind = sum(len(some) for found in rewind.ahead.values() for some in found.values())
            if behind:
                spans += (
                    f"; and {behind} behind these, which a worker had routed that was killed before it wrote so down"
                )
            _log.info("an operator rewound what is routed: its events run again as replay %s (%s)", rewind.id, spans)
        if found.skipped is not None:
            start, stop = found.skipped
            key = f"{SKIP}{self._topic_id}/{partition}/{stop}"
            write(self._producer, self._control, {key: msgspec.json.encode(Skip(start, stop, now_ms()))})
            _log.warning("%s/%d: an operator passed over the events %d to %d", self._topic, partition, start, stop)

    def _read(self) -> Control:
        """Read the control topic to its end."""
        consumer = self._connect()
        try:
            control = Control(consumer, self._control)
            control.read_to_end()
        finally:
            consumer.close()
        for raw in control.values(REWIND).values():
            rewind = msgspec.json.decode(raw, type=Rewind)
            self._rewinds[rewind.id] = rewind
        return control

    def _key(self, partition: int, member: str) -> str:
        return f"{_PROGRESS}{self._topic_id}/{partition}/{member}"


def newest_progress(control: Control, topic_id: str) -> dict[int, Progress]:
    """Return the newest progress of each partition of a topic."""
    newest: dict[int, Progress] = {}
    for key, raw in control.values(f"{_PROGRESS}{topic_id}/").items():
        number = int(key.partition("/")[0])
        one = msgspec.json.decode(raw, type=Progress)
        newest[number] = max(one, newest.get(number, one))
    return newest


def _ignore(_: object, __: object) -> None:
    """What stays is only deleted later."""
