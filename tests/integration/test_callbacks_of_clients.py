"""What goes wrong in a callback of a client on a real broker: the thread that owns it hears of it, and goes on where that helps."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from stream_engine.core.functions.match import Matched
from stream_engine.core.partition.room import Room
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Progress
from stream_engine.shell import clients
from stream_engine.shell.leading.commands_reader import CommandsReader
from stream_engine.shell.leading.leaders import Leaders
from stream_engine.shell.leading.pace import Pace
from stream_engine.shell.pauses import Matching
from stream_engine.shell.routing.burial import Graveyard
from stream_engine.shell.routing.route import Route
from stream_engine.shell.routing.router import Routing
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names, apply
from tests.workers import until

Asks = Callable[[Consumer, str], object]


def _no_time(consumer: Consumer, topic: str) -> object:
    """Ask for what nobody could answer at once: it fails as it does while the broker is away."""
    return consumer.committed([TopicPartition(topic, 0)], timeout=0)


def _never(consumer: Consumer, topic: str) -> None:
    """Ask for what is wrong, whenever it is asked."""
    consumer.incremental_unassign([TopicPartition(topic, 99)])


class _Asking:
    """A `Plan` that asks its client for what fails, a number of times."""

    def __init__(self, topic: str, ask: Asks, times: int) -> None:
        self._topic = topic
        self._ask = ask
        self._left = times
        self.committed: list[int] = []

    def begin(self, consumer: Consumer, partitions: Iterable[int]) -> dict[int, Progress]:
        if self._left:
            self._left -= 1
            self._ask(consumer, self._topic)
        return {partition: Progress(0, 0, 0) for partition in partitions}

    def extent(self, topic: str, progress: Progress) -> Extent | None:
        return None

    def note(self, progress: Mapping[int, Progress], noted: Callable[[], None]) -> None:
        noted()

    def joined(self, progress: Mapping[int, Progress]) -> None:
        self.committed.extend(progress)

    def most(self, lanes: int, assigned: Collection[int]) -> int:
        return 100

    def took(self, events: int) -> None:
        pass

    def over(self, consumer: Consumer) -> None:
        pass


class _Routed:
    """An app's topics, and a thread that routes its events."""

    def __init__(self, settings: Settings, app: str, ask: Asks, times: int) -> None:
        self.names = Names.of(app)
        self.failures: list[BaseException] = []
        apply(clients.admin(settings), self.names, 1)
        consumer, producer = clients.member(settings, self.names.router_group), clients.producer(settings)
        read, produce = partial(clients.reader, settings), partial(clients.producer, settings)
        graveyard = Graveyard(self.names.dead_letters, self.names.router_group, read, produce)
        nobody = Matched([], [], [])
        names = self.names
        route = Route(names.events, "id", names.commands, 1, graveyard, lambda *_: nobody, Matching({}), {})
        self.plan = _Asking(self.names.events, ask, times)
        self.thread = Routing(consumer, producer, route, self.plan, self.failures.append)


def test_where_partitions_begin_is_asked_again_until_the_broker_answers(settings: Settings, app_name: str) -> None:
    routed = _Routed(settings, app_name, _no_time, times=2)
    routed.thread.start()
    try:
        until(lambda: routed.plan.committed or routed.failures, "the partition's beginning is committed")
    finally:
        routed.thread.stop()
    assert (routed.plan.committed, routed.failures) == ([0], [])


@pytest.mark.parametrize("times", [1, 1_000_000])
def test_a_thread_that_is_stopped_meanwhile_ends(settings: Settings, app_name: str, times: int) -> None:
    routed = _Routed(settings, app_name, _no_time, times)
    routed.thread.start()
    until(lambda: routed.thread.assigned.is_set() or times > 1, "it has joined")
    routed.thread.stop()
    assert not routed.failures


def test_what_waiting_does_not_help_ends_routing_with_a_word(settings: Settings, app_name: str) -> None:
    routed = _Routed(settings, app_name, _never, times=1)
    routed.thread.start()
    until(lambda: routed.failures, "somebody is told")
    assert isinstance(routed.failures[0], KafkaException)
    routed.thread.join()


class _Failing(Leaders):
    """Cannot take a partition."""

    def __init__(self, folder: Path, consumer: Consumer, topic: str) -> None:
        self.failures: list[BaseException] = []
        super().__init__(folder, Room(1), cast("Pace", None), self.failures.append)
        self._client, self._commands = consumer, topic

    def assign(self, partition: int) -> None:
        _never(self._client, f"{self._commands}/{partition}")

    def revoke(self, partition: int) -> None:
        pass


def test_what_goes_wrong_with_a_partition_ends_the_reader_of_commands(
    settings: Settings, app_name: str, tmp_path: Path
) -> None:
    names = Names.of(app_name)
    apply(clients.admin(settings), names, 1)
    consumer = clients.member(settings, app_name)
    leaders = _Failing(tmp_path, consumer, names.commands)
    reader = CommandsReader(consumer, names.commands, leaders, leaders.failures.append)
    reader.start()
    until(lambda: leaders.failures, "somebody is told")
    assert isinstance(leaders.failures[0], KafkaException)
    reader.join()
