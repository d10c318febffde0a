"""A simulated Kafka: logs, and producers whose reports may be lost, late or wrong.

It does what a real one does, or worse; `tests/conformance` holds it against a real one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from stream_engine.core.records.origin import Logs, Origin
from stream_engine.core.routing.receive import Message
from tests.simulation.schedule import MILLISECOND, Host, Schedule

FATES = ("lost", "late", "refused", "no offset", "twice")
"""What may become of an append besides being acknowledged; see `Producer.append`."""


@dataclass(frozen=True)
class Stored:
    """A record of a log; ``timestamp`` is the broker's, in milliseconds since the epoch."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Report:
    """What a producer is told of an append: whether Kafka acknowledged it, and the offset if it came along."""

    ok: bool
    offset: int | None = None


@dataclass(frozen=True)
class Draft:
    """What is to be appended."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Topics:
    """The names of the app's topics."""

    events: str = "events"
    commands: str = "commands"
    journal: str = "journal"
    state: str = "state"
    history: str = "history"
    dead_letters: str = "dead-letters"
    control: str = "control"


class TrimmedError(Exception):
    """The record is not there any more."""


class UnknownTopicError(Exception):
    """There is no such topic, or no such partition of it."""


@dataclass
class Log:
    """One partition: what landed, in order, and who wants to know. What lies below ``start`` is there for referees only."""

    topic_id: str
    records: list[Stored] = field(default_factory=list)
    watchers: list[Callable[[Stored], None]] = field(default_factory=list)
    start: int = 0

    @property
    def end(self) -> int:
        """The offset that the next record gets."""
        return len(self.records)

    def read(self, offset: int) -> bytes:
        """Return the value of a record.

        Raises:
            TrimmedError: it was deleted.
        """
        if offset < self.start:
            raise TrimmedError(f"the log begins at {self.start}, and not at {offset}")
        value = self.records[offset].value
        assert value is not None
        return value

    def trim(self, offset: int) -> None:
        """Delete what lies below an offset; a lower one than before changes nothing."""
        self.start = max(self.start, offset)

    def watch(self, watcher: Callable[[Stored], None]) -> None:
        """Have something called with every record that lands from now on."""
        self.watchers.append(watcher)

    def unwatch(self, watcher: Callable[[Stored], None]) -> None:
        """End what `watch` began."""
        if watcher in self.watchers:
            self.watchers.remove(watcher)


def message_of(topic: str, log: Log, partition: int, stored: Stored) -> Message:
    """Return what Kafka delivers of a record as the core takes it."""
    where = topic, log.topic_id, partition, stored.offset, stored.timestamp
    return Message(*where, stored.key, stored.value, stored.headers)


class SimKafka:
    """The topics of a simulated cluster.

    Attributes:
        lands_late: whether what is landing now was reported as an error long ago.
    """

    def __init__(self, schedule: Schedule, epoch_ms: int) -> None:
        self.schedule = schedule
        self._epoch_ms = epoch_ms
        self._logs: dict[tuple[str, int], Log] = {}
        self._partitions: dict[str, int] = {}
        self._created = 0
        self.lands_late = False

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic, in place of an older one of its name if there is one."""
        self._partitions[topic] = partitions
        self._created += 1
        topic_id = f"{topic}#{self._created}"
        for partition in range(partitions):
            self._logs[topic, partition] = Log(topic_id)

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        if topic not in self._partitions:
            raise UnknownTopicError(topic)
        return self._partitions[topic]

    def origin(self, topics: Topics, partition: int) -> Origin:
        """Return what a store of a partition is to be a copy of."""
        journal, commands = self.log(topics.journal, partition), self.log(topics.commands, partition)
        return Origin(
            Logs("simulated", journal.topic_id, commands.topic_id, self.partitions(topics.commands)), partition
        )

    def log(self, topic: str, partition: int) -> Log:
        """Return one partition of a topic."""
        try:
            return self._logs[topic, partition]
        except KeyError:
            raise UnknownTopicError(f"{topic}/{partition}") from None

    @property
    def clock_ms(self) -> int:
        """The broker's clock."""
        return self.at_ms(self.schedule.now)

    def at_ms(self, at: int) -> int:
        """Return what the broker's clock shows at a time of the schedule."""
        return self._epoch_ms + at // MILLISECOND

    def land(self, topic: str, partition: int, draft: Draft) -> int:
        """Put a record at the end of a log at once; return its offset."""
        log = self.log(topic, partition)
        record = Stored(log.end, self.clock_ms, draft.key, draft.value, draft.headers)
        log.records.append(record)
        for watcher in list(log.watchers):
            watcher(record)
        return record.offset


class Producer:
    """An idempotent producer of one process, with acks=all.

    What is acknowledged landed once and in the order of its appends. Any other append is reported as an error, and may have
    landed (``lost``), may land later, behind what was appended after it (``late``), or never (``refused``), although what was
    appended after it lands. An acknowledgement may come without its offset (``no offset``), and a record may land ``twice``, as
    it does where idempotence lapses; the offset reported is then either.
    """

    def __init__(self, kafka: SimKafka, host: Host, fates: dict[str, float]) -> None:
        self._kafka = kafka
        self._host = host
        self._fates = fates
        self._in_order: dict[tuple[str, int], int] = {}

    def append(self, topic: str, partition: int, draft: Draft, report: Callable[[Report], None]) -> None:
        """Append a record; ``report`` is called later, unless the process dies before."""
        self._kafka.log(topic, partition)
        schedule = self._kafka.schedule
        fate = self._fate()
        if fate is not None:
            schedule.happened(f"append {fate}", self._host.name, f"{topic}/{partition}")
        latency = schedule.random.randrange(100, 3_000)
        if fate == "refused":
            self._tell(latency, report, Report(ok=False))
        elif fate == "late":
            self._tell(latency, report, Report(ok=False))
            delay = latency + schedule.random.randrange(0, 60 * MILLISECOND)
            schedule.at(delay, lambda: self._note_late(topic, partition, draft))
        else:
            place = (topic, partition)
            at = max(self._in_order.get(place, 0), schedule.now + latency)
            self._in_order[place] = at
            schedule.at(at - schedule.now, lambda: self._land(place, draft, report, fate))

    def _fate(self) -> str | None:
        if self._kafka.schedule.calm or not self._fates:
            return None
        dice = self._kafka.schedule.random.random()
        for fate, chance in self._fates.items():
            dice -= chance
            if dice < 0:
                return fate
        return None

    def _land(self, place: tuple[str, int], draft: Draft, report: Callable[[Report], None], fate: str | None) -> None:
        offset = self._kafka.land(*place, draft)
        if fate == "twice":
            offset = self._kafka.schedule.random.choice((offset, self._kafka.land(*place, draft)))
        answer = Report(ok=fate != "lost", offset=offset if fate in {None, "twice"} else None)
        self._tell(self._kafka.schedule.random.randrange(50, 1_000), report, answer)

    def _note_late(self, topic: str, partition: int, draft: Draft) -> None:
        self._kafka.lands_late = True
        offset = self._kafka.land(topic, partition, draft)
        self._kafka.lands_late = False
        self._kafka.schedule.note("landed late", f"{topic}/{partition}", offset)

    def _tell(self, delay: int, report: Callable[[Report], None], answer: Report) -> None:
        self._host.at(delay, lambda: report(answer))
