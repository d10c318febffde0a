"""What a simulated lane does for those who wait for events: it follows what is asked for, and scans the log."""

from stream_engine.core.routing.cause import sender_of
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.offering import LaneOffers, Scan
from stream_engine.core.routing.parcels import Parcels, unnumbered
from stream_engine.core.routing.receive import receive
from stream_engine.core.waits.interests import INTEREST, Interests
from tests.simulation.kafka import Draft, Log, Producer, Report, SimKafka, Topics, message_of
from tests.simulation.schedule import MILLISECOND, Body, Host, Thread

_RETRY = 20 * MILLISECOND


class Scanning:
    """The scans of one lane, as long as it is assigned, on a thread of their own; they are begun again after a failure."""

    def __init__(self, host: Host, kafka: SimKafka, topics: Topics, producer: Producer, lane: LaneOffers) -> None:
        self._host = host
        self._kafka = kafka
        self._topics = topics
        self._producer = producer
        self._lane = lane
        self._asked: dict[str, tuple[int, bytes]] = {}
        self._read = 0
        self._scan: Scan | None = None
        self._open = 0
        self._failed = False
        self.thread = Thread(host, self._run())

    @property
    def control(self) -> Log:
        """The control topic."""
        return self._kafka.log(self._topics.control, 0)

    @property
    def behind(self) -> bool:
        """Whether there is something in the control topic that has not been read."""
        return self._read < self.control.end

    def learn(self, position: int) -> None:
        """Read the control topic to its end; what is routed from a position on is offered by it."""
        for stored in self.control.records[self._read :]:
            assert stored.key is not None
            key = stored.key.decode().removeprefix(INTEREST)
            if stored.value is None:
                self._asked.pop(key, None)
            else:
                self._asked[key] = stored.offset, stored.value
        self._read = self.control.end
        self._begin(self._lane.learn(Interests.of(self._asked), position))

    def _begin(self, scan: Scan | None) -> None:
        if scan is not None:
            self._scan = scan
            self.thread.wake()

    def _run(self) -> Body:
        while True:
            scan = self._scan
            if scan is None:
                yield None
                continue
            self._kafka.schedule.counts["scan"] += 1
            yield from self._produce(self._offers(scan))
            if not self._failed:
                yield from self._produce(self._answers(scan))
            if self._failed:
                self._failed = False
                self._host.at(_RETRY, self.thread.wake)
                yield None
                continue
            self._scan = None
            self._begin(self._lane.finished(scan))

    def _offers(self, scan: Scan) -> Parcels:
        log = self._kafka.log(self._topics.events, scan.partition)
        parcels = Parcels(unnumbered)
        for stored in log.records[: scan.stop]:
            message = message_of(self._topics.events, log, scan.partition, stored)
            event = receive(message, {})
            if isinstance(event, Rejection) or event.timestamp < scan.since:
                continue
            self._kafka.schedule.counts["offered by a scan"] += 1
            partitions = self._kafka.partitions(self._topics.commands)
            for owner, offer in scan.asking.offers(event, partitions, sender_of(message.headers)):
                # Each by itself, so that more can go wrong.
                parcels.add(owner, 0, offer, 1 << 20)
        return parcels

    def _answers(self, scan: Scan) -> Parcels:
        parcels = Parcels(unnumbered)
        for owner, answer in scan.answers(((scan.topic, self._kafka.partitions(scan.topic)),)):
            parcels.add(owner, 0, answer, 0)
        return parcels

    def _produce(self, parcels: Parcels) -> Body:
        def reported(report: Report) -> None:
            self._open -= 1
            self._failed = self._failed or not report.ok
            self.thread.wake()

        for partition, raw in parcels.take():
            self._open += 1
            self._producer.append(self._topics.commands, partition, Draft(raw), reported)
            yield "scan produced"
        while self._open:
            yield None
