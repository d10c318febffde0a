"""What a simulated worker does for partitions where waits have come to their ends: it finds out up to when all events are routed."""

from collections.abc import Callable

from stream_engine.core.records.journal import encode
from stream_engine.core.records.requests import Commands
from stream_engine.core.records.wanted import CaughtUp
from stream_engine.core.routing.rewind import Committed, routed_to
from tests.simulation.groups import Group
from tests.simulation.kafka import Draft, Producer, Report, SimKafka, Topics
from tests.simulation.schedule import MILLISECOND, Body, Host, Thread


class Asking:
    """Answers the partitions of a worker, one question after another; ``clock`` is its machine's."""

    def __init__(
        self, host: Host, logs: tuple[SimKafka, Topics], routers: Group, producer: Producer, clock: Callable[[], int]
    ) -> None:
        self._host = host
        self._kafka, self._topics = logs
        self._routers = routers
        self._producer = producer
        self._clock = clock
        self._asked: set[int] = set()
        self._thread = Thread(host, self._run())

    def ask(self, partition: int) -> None:
        """Have a partition be told when all is routed that came up to now."""
        self._asked.add(partition)
        self._thread.wake()

    def routed(self, ends: list[int]) -> bool:
        """Return whether the group has committed as far as the logs went."""
        return all(self._routed_to(number) >= end for number, end in enumerate(ends))

    def _routed_to(self, number: int) -> int:
        found = self._routers.committed.get(number)
        topic_id = self._kafka.log(self._topics.events, number).topic_id
        return routed_to(None if found is None else Committed(*found), topic_id)

    def _run(self) -> Body:
        while True:
            if not self._asked:
                yield None
                continue
            partitions, self._asked = self._asked, set()
            before = self._clock()
            yield "question taken"
            numbers = range(self._kafka.partitions(self._topics.events))
            ends = [self._kafka.log(self._topics.events, number).end for number in numbers]
            yield "ends looked up"
            while not self.routed(ends):
                self._kafka.schedule.counts["events still to be routed at a wait's end"] += 1
                self._host.at(self._kafka.schedule.random.randrange(1, 20 * MILLISECOND), self._thread.wake)
                yield None
            for partition in sorted(partitions):
                self._answer(partition, before)
                yield "caught up"

    def _answer(self, partition: int, before: int) -> None:
        def reported(report: Report) -> None:
            if not report.ok:
                self.ask(partition)

        draft = Draft(encode(Commands("", None, [(0, CaughtUp(before))])))
        self._producer.append(self._topics.commands, partition, draft, reported)
