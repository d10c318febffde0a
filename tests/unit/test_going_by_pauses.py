"""A worker says that it goes by a pause, or by its end, once Kafka has all that was matched before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

from confluent_kafka import Consumer, Producer, TopicPartition

from stream_engine.core.functions.match import Matched
from stream_engine.core.functions.pausing import Pause, PausedFunctions, hold_back
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Progress
from stream_engine.shell.pauses import Matching
from stream_engine.shell.routing.burial import Graveyard
from stream_engine.shell.routing.route import Route
from stream_engine.shell.routing.router import Routing
from tests.workers import until

PAUSED = {"f": Pause(paused=True, at=1, since=1)}
RESUMED = {"f": Pause(paused=False, at=2, since=1)}


class _Message:
    def __init__(self, offset: int) -> None:
        self._offset = offset

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return b'{"name": "a"}'

    def headers(self) -> None:
        return None


class _Log:
    """A consumer that has the only partition, with as many events as are sent."""

    def __init__(self) -> None:
        self.sent = 0
        self._taken = 0
        self._assign: Callable[[_Log, list[TopicPartition]], None] | None = None

    def subscribe(self, topics: list[str], on_assign: Callable[[_Log, list[TopicPartition]], None], **_: Any) -> None:
        assert topics == ["shop.events"]
        self._assign = on_assign

    def poll(self, seconds: float) -> _Message | None:
        if self._assign is not None:
            assign, self._assign = self._assign, None
            assign(self, [TopicPartition("shop.events", 0)])
        if self._taken == self.sent:
            threading.Event().wait(seconds)
            return None
        self._taken += 1
        return _Message(self._taken - 1)

    def consume(self, most: int, seconds: float) -> list[_Message]:
        assert (most > 0, seconds) == (True, 0)
        return []

    def incremental_assign(self, parts: list[TopicPartition]) -> None:
        assert [part.partition for part in parts] == [0]

    def commit(self, **_: Any) -> None:
        return

    def list_topics(self, *_: Any, **__: Any) -> None:
        return

    def close(self) -> None:
        return


class _Broker:
    """A producer of which Kafka acknowledges nothing until it answers."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.admits: list[Admit] = []
        self._flight: list[Callable[[Any, Any], None]] = []

    def produce(self, topic: str, value: bytes, key: None, partition: int, on_delivery: Any) -> None:
        assert (topic, key, partition) == ("shop.commands", None, 0)
        self.admits += [one for _, one in decode_commands(value).items if isinstance(one, Admit)]
        self._flight.append(on_delivery)

    def poll(self, seconds: float) -> None:
        if self.answers.is_set():
            while self._flight:
                self._flight.pop()(None, None)
        threading.Event().wait(seconds)

    def flush(self, seconds: float = 10.0) -> int:
        if self._flight:
            self.answers.wait(seconds)
            self.poll(0)
        return len(self._flight)


class _Plan:
    """That of a replay."""

    def begin(self, consumer: Consumer, partitions: Iterable[int]) -> dict[int, Progress]:
        return {number: Progress(0, 10, 0, "r") for number in partitions}

    def extent(self, topic: str, progress: Progress) -> Extent | None:
        return Extent("r", topic, {0: (0, 10)})

    def note(self, progress: Mapping[int, Progress], noted: Callable[[], None]) -> None:
        noted()

    def joined(self, progress: Mapping[int, Progress]) -> None:
        return

    def most(self, lanes: int, assigned: Collection[int]) -> int:
        return 100

    def took(self, events: int) -> None:
        return

    def over(self, consumer: Consumer) -> None:
        return


def test_what_was_matched_during_a_pause_is_acknowledged_before_the_worker_goes_by_its_end() -> None:
    functions, matching, log, broker = PausedFunctions(), Matching(PAUSED), _Log(), _Broker()
    functions.follow(PAUSED)

    def match(event: Event, partitions: int, replay_id: str | None) -> Matched:
        return hold_back(Matched(["f"], [], []), functions.ids)

    graveyard = Graveyard("shop.dead-letters", "shop.router", cast("Any", None), cast("Any", None))
    route = Route("shop.events", "E", "shop.commands", 1, graveyard, match, matching, {})
    failures: list[BaseException] = []
    routing = Routing(cast("Consumer", log), cast("Producer", broker), route, _Plan(), failures.append)
    routing.start()
    log.sent = 1
    until(lambda: broker.admits, "an event is matched")
    functions.follow(RESUMED)
    matching.pauses = RESUMED
    log.sent = 2
    # Longer than the thread waits for Kafka in one round.
    assert not broker.answers.wait(0.3)
    assert (matching.all_go_by(RESUMED), len(broker.admits)) == (False, 1)
    broker.answers.set()
    until(lambda: matching.all_go_by(RESUMED), "it goes by the end of the pause")
    until(lambda: len(broker.admits) == 2, "it goes on")
    assert [(one.functions, [held.function for held in one.paused]) for one in broker.admits] == [
        ([], ["f"]),
        (["f"], []),
    ]
    routing.stop()
    assert failures == []
    assert matching.all_go_by(PAUSED)
