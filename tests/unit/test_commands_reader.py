"""The thread that reads commands, over a client that loses what librdkafka loses."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from stream_engine.core.partition.change import Take
from stream_engine.core.partition.room import Room
from stream_engine.core.records.journal import encode
from stream_engine.core.records.requests import Commands
from stream_engine.shell.leading.commands_reader import CommandsReader
from stream_engine.shell.leading.leaders import Leaders
from stream_engine.shell.leading.pace import Pace
from tests.workers import until

_TOPIC = "shop.commands"
_PARTITIONS = 2
_RECORDS = 3

_Assigned = Callable[["_Client", list[TopicPartition]], None]


class _Message(NamedTuple):
    at: TopicPartition

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return self.at.partition

    def offset(self) -> int:
        return self.at.offset

    def value(self) -> bytes:
        return encode(Commands("router", 0, []))


class _Client:
    """A consumer that its group gives all partitions, and that never finds out where the log of one begins or ends.

    Like the real one while it still looks for such a place, it accepts a seek, and fetches nothing.
    """

    def __init__(self) -> None:
        self.positions: dict[int, int | None] = {}
        self.paused: set[int] = set()
        self._assigned: _Assigned | None = None

    def memberid(self) -> str:
        return "the only one"

    def list_topics(self, topic: str, timeout: float) -> None:
        assert (topic, timeout > 0) == (_TOPIC, True)

    def subscribe(self, topics: list[str], on_assign: _Assigned, **_: Any) -> None:
        assert topics == [_TOPIC]
        self._assigned = on_assign

    def incremental_assign(self, parts: Iterable[TopicPartition]) -> None:
        for part in parts:
            assert part.partition not in self.positions, "the client refuses what it has"
            self.positions[part.partition] = part.offset if part.offset >= 0 else None

    def incremental_unassign(self, parts: Iterable[TopicPartition]) -> None:
        for part in parts:
            del self.positions[part.partition]

    def seek(self, part: TopicPartition) -> None:
        if self.positions[part.partition] is not None:
            self.positions[part.partition] = part.offset

    def pause(self, parts: Iterable[TopicPartition]) -> None:
        self.paused |= {part.partition for part in parts}

    def resume(self, parts: Iterable[TopicPartition]) -> None:
        self.paused -= {part.partition for part in parts}

    def poll(self, timeout: float) -> _Message | None:
        if self._assigned is not None:
            assigned, self._assigned = self._assigned, None
            assigned(self, [TopicPartition(_TOPIC, partition) for partition in range(_PARTITIONS)])
        return next(self._fetched(), None)

    def consume(self, most: int, timeout: float) -> list[_Message]:
        return list(self._fetched())

    def close(self) -> None:
        self.positions.clear()

    def _fetched(self) -> Iterator[_Message]:
        for partition, offset in self.positions.items():
            if partition not in self.paused and offset is not None and offset < _RECORDS:
                self.positions[partition] = offset + 1
                yield _Message(TopicPartition(_TOPIC, partition, offset))


class _Hasty(Leaders):
    """Has each partition read from its beginning as soon as it is assigned, and keeps the offsets that arrive."""

    def __init__(self, folder: Path) -> None:
        self.failures: list[BaseException] = []
        super().__init__(folder, Room(1), cast("Pace", None), self.failures.append)
        self.reader = CommandsReader(cast("Consumer", _Client()), _TOPIC, self, self.failures.append)
        self.offsets: dict[int, list[int]] = {partition: [] for partition in range(_PARTITIONS)}

    def assign(self, partition: int) -> None:
        self.reader.take_from(partition, 0)

    def arrived(self, partition: int, takes: list[Take]) -> None:
        self.offsets[partition].extend(take.offset for take in takes)

    def have(self, offsets: list[int]) -> None:
        """Wait until these have arrived of every partition."""
        until(lambda: all(found == offsets for found in self.offsets.values()), f"{offsets} arrive", 10)


@pytest.fixture
def leaders(tmp_path: Path) -> Iterator[_Hasty]:
    """Leaders whose reader reads."""
    leaders = _Hasty(tmp_path)
    leaders.reader.start()
    yield leaders
    leaders.reader.stop()
    assert not leaders.failures


def test_every_partition_is_read_from_where_its_leader_says(leaders: _Hasty) -> None:
    """Also when the client did not know yet where the partition begins, and again in the leader's next term."""
    leaders.have([0, 1, 2])
    for partition in range(_PARTITIONS):
        leaders.reader.take_from(partition, 1)
    leaders.have([0, 1, 2, 1, 2])


def test_what_the_leader_of_an_earlier_term_held_is_read_again(leaders: _Hasty) -> None:
    leaders.have([0, 1, 2])
    for partition in range(_PARTITIONS):
        leaders.reader.hold(partition, held=True)
        leaders.reader.take_from(partition, 2)
    leaders.have([0, 1, 2, 2])
