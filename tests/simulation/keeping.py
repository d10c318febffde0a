"""What a simulated worker does for the state topic: it writes snapshots in the background, trims late, and restores."""

from collections.abc import Callable, Generator, Iterable, Iterator

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import DeposedError, Trim
from stream_engine.core.partition.snapshot import LostStateError, Restore, Snapshot, SpoiledError
from stream_engine.core.records.journal import Checkpoint
from stream_engine.core.records.tables import FOLDED_KEY
from tests.simulation.kafka import Draft, Producer, Report, SimKafka, Topics, TrimmedError
from tests.simulation.referee import Referee
from tests.simulation.schedule import MILLISECOND, Body, Host, Thread
from tests.simulation.store import SimStore

_CHUNK_BYTES = 200
_RETRY = 20 * MILLISECOND


class Keeper:
    """Keeps the state topic of one partition, as long as its process lives; terms come and go."""

    def __init__(self, host: Host, partition: int, kafka: SimKafka, topics: Topics, referee: Referee) -> None:
        self._host = host
        self._partition = partition
        self._kafka = kafka
        self._topics = topics
        self._referee = referee
        self._journal = kafka.log(topics.journal, partition)
        self._state = kafka.log(topics.state, partition)

    def begin(self, leader: Leader, store: SimStore, producer: Producer, done: Callable[[], None]) -> None:
        """Write a snapshot of the store as it is now; ``done`` is called once the leader has been told."""
        snapshot = leader.snapshot()
        Thread(self._host, self._write(leader, snapshot, self.view(store), producer, done))

    def view(self, store: SimStore) -> Iterator[tuple[bytes, bytes]]:
        """Return what a store holds now, whatever is written to it later."""
        return iter([item for item in sorted(store.data.items()) if item[0] != FOLDED_KEY])

    def written(self, leader: Leader, checkpoint: Checkpoint) -> None:
        """Tell the leader that a snapshot is complete."""
        leader.written(checkpoint)

    def trim(self, trim: Trim) -> None:
        """Delete what is not needed any more, at some time, even if the lead is lost meanwhile."""
        topics, random = self._topics, self._kafka.schedule.random
        orders = [(topics.journal, trim.journal), (topics.commands, trim.commands), (topics.state, trim.state)]
        random.shuffle(orders)
        for topic, offset in orders:
            self._host.at(random.randrange(40 * MILLISECOND), self._trimming(topic, offset))

    def restore(self, store: SimStore) -> Generator[str | None, None, None]:
        """Rebuild a store from the state topic."""
        restore = Restore(self._journal.topic_id, self._journal.start)
        while not restore.complete:
            store.clear()
            yield "emptied"
            try:
                yield from self._read(restore, store)
            except SpoiledError as error:
                self._kafka.schedule.happened("snapshot spoiled", self._host.name, self._partition, error)
                restore = restore.again()
            except TrimmedError as error:
                raise DeposedError(str(error)) from error
            except LostStateError as error:
                if restore.journal_start == self._journal.start:
                    self._referee.object(3, f"{self._host.name}/{self._partition}: {error}")
                raise DeposedError(str(error)) from error
        self._kafka.schedule.happened("restored", self._host.name, self._partition)
        self._referee.wrote(self._host, self._partition, store)

    def follow(self, candidate: Candidate, replay: Callable[[int], None], wake_at: Callable[[int], None]) -> Body:
        """Keep a copy for a while before the claim, as a worker does that stands by."""
        schedule = self._kafka.schedule
        until = schedule.now + schedule.random.choice((0, 0, 5, 50)) * MILLISECOND
        while schedule.now < until:
            while candidate.reads_from < self._journal.end:
                replay(candidate.reads_from)
                schedule.happened("followed")
                yield "follow"
            wake_at(schedule.now + MILLISECOND)
            yield None

    def _read(self, restore: Restore, store: SimStore) -> Generator[str | None, None, None]:
        for at in range(self._state.start, self._state.end):
            change = restore.take(self._state.read(at))
            if change is not None:
                store.write(change)
                yield "restoring"
            if restore.complete:
                return
        restore.ended()

    def _write(
        self,
        leader: Leader,
        snapshot: Snapshot,
        view: Iterable[tuple[bytes, bytes]],
        producer: Producer,
        done: Callable[[], None],
    ) -> Body:
        reports: list[Report] = []
        expected = 0
        for raw in snapshot.records(view, _CHUNK_BYTES):
            expected += 1
            producer.append(self._topics.state, self._partition, Draft(raw), reports.append)
            yield "chunk appended"
        while len(reports) < expected:
            # The thread is not woken by reports: it looks now and then, as a real one polls.
            self._host.at(MILLISECOND, lambda: None)
            yield "snapshot under way"
        offsets = [report.offset for report in reports if report.ok and report.offset is not None]
        if len(offsets) == expected:
            self._kafka.schedule.happened("snapshot written", self._host.name, self._partition)
            self.written(leader, snapshot.named(min(offsets)))
        else:
            self._kafka.schedule.happened("snapshot abandoned", self._host.name, self._partition)
            self._host.at(_RETRY, leader.abandoned)
        done()

    def _trimming(self, topic: str, offset: int) -> Callable[[], None]:
        def act() -> None:
            log = self._kafka.log(topic, self._partition)
            before = log.start
            if offset <= before:
                return
            log.trim(offset)
            self._kafka.schedule.happened(f"trimmed {topic}", self._partition, offset)
            if self._kafka.schedule.chance(0.1):
                # What was deleted can come back after a broker's crash.
                log.start = before
                self._kafka.schedule.happened("trim undone", topic, self._partition)
            self._referee.suffices(self._kafka, self._topics, self._partition)

        return act
