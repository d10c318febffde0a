"""A worker says that it goes by a pause of a replay once nothing that its leaders decided before can take effect any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import TopicPartition

from stream_engine.core.partition.change import Take
from stream_engine.core.partition.room import UNLIMITED, Room
from stream_engine.core.partition.turn import Effect, Execute, Function, Rules
from stream_engine.core.records.journal import Event
from stream_engine.core.records.origin import Logs
from stream_engine.core.records.requests import Admit, Commands
from stream_engine.core.routing.replay import PAUSED, Replay
from stream_engine.shell.control import Control, ControlFollower
from stream_engine.shell.halts import REPLAY
from stream_engine.shell.leading.lead import Process
from stream_engine.shell.leading.leaders import Leaders
from stream_engine.shell.leading.term import Term
from stream_engine.shell.topics import Names
from tests.workers import until

LOGS = Logs("c", "J", "C", 1)
CHANGED = 7


class _Message:
    def __init__(self, offset: int, key: bytes = b"", value: bytes = b"") -> None:
        self._offset, self._key, self._value = offset, key, value

    def error(self) -> None:
        return None

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value


class _ControlTopic:
    """A consumer of what is written."""

    def __init__(self) -> None:
        self.delivers = threading.Event()
        self.delivers.set()
        self._messages: SimpleQueue[_Message] = SimpleQueue()
        self._end = 0

    def get_watermark_offsets(self, part: object, seconds: float) -> tuple[int, int]:
        return 0, self._end

    def assign(self, parts: object) -> None:
        return

    def position(self, parts: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(part.topic, part.partition, self._end - self._messages.qsize()) for part in parts]

    def pause(self) -> None:
        replay = Replay("r", "f", "t", "T", 0, 1, {0: (0, 9)}, 1, 9, PAUSED, changed_at=CHANGED)
        self._messages.put(_Message(self._end, (REPLAY + "r").encode(), msgspec.json.encode(replay)))
        self._end += 1

    def poll(self, seconds: float) -> _Message | None:
        if not self.delivers.is_set():
            self.delivers.wait(seconds)
            return None
        try:
            return self._messages.get(timeout=seconds)
        except Empty:
            return None


class _Topic:
    """A producer of which Kafka acknowledges nothing until it answers."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.flight: list[Callable[[], None]] = []
        self.end = 0

    def produce(self, topic: str, value: bytes, key: Any, partition: int, on_delivery: Any) -> None:
        message = _Message(self.end)
        self.end += 1
        self.flight.append(lambda: on_delivery(None, message))

    def poll(self, seconds: float) -> None:
        if not self.answers.is_set():
            threading.Event().wait(seconds)
            return
        while self.flight:
            self.flight.pop(0)()


class _Recovery:
    """Of logs in which there is nothing."""

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self._call = call

    def ask(self, places: object, answered: Callable[..., None], failed: object) -> None:
        self._call(lambda: answered(LOGS, [range(0), range(0), range(0)]))

    def leave(self, place: object) -> None:
        return


class _Pace:
    """Notes of which events runs are executed."""

    behind = False

    def __init__(self) -> None:
        self.begun: list[int] = []

    def hand_over(self, decided: list[tuple[Term, list[Effect]]]) -> None:
        self.begun += [one.event.offset for _, effects in decided for one in effects if isinstance(one, Execute)]


class _Worker:
    """The threads of a worker that lead, and that follow the control topic."""

    def __init__(self, folder: Path) -> None:
        self.journal, self.topic, self.pace = _Topic(), _ControlTopic(), _Pace()
        self.told: list[dict[str, int]] = []
        self.failures: list[BaseException] = []
        consumer = cast("Any", self.topic)
        self.control = ControlFollower(
            Control(consumer, "shop.control"), self.failures.append, lambda _, halted: self.told.append(halted)
        )
        self.leaders = Leaders(folder, Room(UNLIMITED), cast("Any", self.pace), self.failures.append)
        functions = {"f": Function("f", ("1",))}

        def rules(partition: int) -> Rules:
            return Rules("shop", functions, 1, "shop.commands", "journal/J/0", partition, halted=self.control.halted)

        def nothing(*_: object) -> None:
            return

        self.process = Process(
            name="w",
            journal=cast("Any", self.journal),
            outgoing=cast("Any", _Topic()),
            names=Names.of("shop"),
            logs=LOGS,
            rules=rules,
            when_caught_up=lambda call: self.control.when_caught_up(lambda: self.leaders.call(call)),
            deciding=self.control.deciding,
            recovery=cast("Any", _Recovery(self.leaders.call)),
            checkpoints=cast("Any", None),
            take_from=nothing,
            hold=nothing,
            reported=self.leaders.note_report,
            wake=self.leaders.wake,
            perform=self.leaders.collect,
            lend=nothing,
            end_term=nothing,
            give_back=nothing,
            ask=nothing,
        )

    def start(self) -> None:
        self.control.start()
        self.leaders.begin(self.process)
        self.leaders.assign(0)
        until(lambda: self.leaders.leading() == {0}, "the partition is led")

    def stop(self) -> None:
        self.journal.answers.set()
        self.leaders.stop(10)
        self.control.stop()
        assert self.failures == []

    def arrives(self, offset: int) -> None:
        event = Event("e", f"at:T/0/{offset}", f"t/0/{offset}", 0, 0, "t", 0, offset, b"{}")
        self.leaders.arrived(0, [Take(offset, Commands("", None, [(0, Admit(event, ["f"], "r"))]))])

    def goes_by_it(self) -> bool:
        return self.told[-1:] == [{REPLAY + "r": CHANGED}]


@contextmanager
def _serving(folder: Path) -> Iterator[_Worker]:
    worker = _Worker(folder)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def test_a_worker_that_has_nothing_to_decide_goes_by_it_at_once(tmp_path: Path) -> None:
    with _serving(tmp_path) as worker:
        worker.topic.pause()
        until(worker.goes_by_it, "it goes by the pause")
        worker.arrives(0)
        end = worker.journal.end
        until(lambda: worker.journal.end > end, "it is decided upon")
        assert worker.pace.begun == []


@pytest.mark.parametrize("gives_up", [False, True], ids=["leads on", "gives the partition up"])
def test_what_was_decided_before_is_known_to_be_in_the_journal_before_the_worker_goes_by_a_pause(
    tmp_path: Path, gives_up: bool
) -> None:
    with _serving(tmp_path) as worker:
        worker.journal.answers.clear()
        worker.arrives(0)
        until(lambda: worker.journal.flight, "a run is to begin")
        if gives_up:
            worker.leaders.revoke(0)
            until(lambda: not worker.leaders.leading(), "the partition is given up")
        worker.topic.pause()
        until(lambda: worker.control.halted.now.paused, "decisions see the pause")
        # Longer than the threads wait for anything in one round.
        assert not worker.journal.answers.wait(1.0)
        assert not worker.goes_by_it()
        worker.journal.answers.set()
        until(worker.goes_by_it, "it goes by the pause")
        assert worker.pace.begun == ([] if gives_up else [0])


def test_a_partition_is_claimed_when_it_is_known_what_was_halted_while_nobody_waited_for_this_worker(
    tmp_path: Path,
) -> None:
    worker = _Worker(tmp_path)
    worker.topic.delivers.clear()
    worker.topic.pause()
    worker.control.start()
    worker.leaders.begin(worker.process)
    try:
        worker.leaders.assign(0)
        # Longer than the threads wait for anything in one round.
        assert not worker.topic.delivers.wait(1.0)
        assert worker.journal.end == 0
        worker.topic.delivers.set()
        until(lambda: worker.leaders.leading() == {0}, "the partition is led")
        end = worker.journal.end
        worker.arrives(0)
        until(lambda: worker.journal.end > end, "it is decided upon")
        assert worker.pace.begun == []
    finally:
        worker.stop()
