"""The simulated Kafka, as the conformance suite sees it."""

from tests.simulation.groups import Group
from tests.simulation.groups import Member as GroupMember
from tests.simulation.kafka import Draft, Producer, Report, SimKafka
from tests.simulation.schedule import MILLISECOND, Faults, Host, Schedule

_MOST_CALLS = 100_000
_AGES = 3_600_000 * MILLISECOND


class SimulatedCluster:
    """A `tests.conformance.cluster.Cluster` without a network."""

    def __init__(self, seed: int) -> None:
        self.schedule = Schedule(seed)
        self.kafka = SimKafka(self.schedule, 1_700_000_000_000)
        self._groups: dict[str, Group] = {}
        self._hosts = 0

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic."""
        self.kafka.create(topic, partitions)

    def topic_id(self, topic: str) -> str:
        """Return the identity of a topic."""
        return self.kafka.log(topic, 0).topic_id

    def end(self, topic: str, partition: int) -> int:
        """Return the offset that the next record of a partition gets."""
        return self.kafka.log(topic, partition).end

    def read(self, topic: str, partition: int, offsets: range) -> list[tuple[int, bytes]]:
        """Return the records at some offsets."""
        records = self.kafka.log(topic, partition).records[offsets.start : offsets.stop]
        return [(record.offset, record.value or b"") for record in records]

    def writer(self) -> "SimulatedWriter":
        """Return a new producer."""
        return SimulatedWriter(self, self.host())

    def member(self, group: str, topic: str) -> "SimulatedMember":
        """Join a group."""
        known = self._groups.get(group)
        if known is None:
            known = self._groups[group] = Group(self.schedule, group, self.kafka.partitions(topic))
        return SimulatedMember(self, known, self.host())

    def host(self) -> Host:
        """Return a new process."""
        self._hosts += 1
        return Host(self.schedule, f"process {self._hosts}", Faults())


class SimulatedWriter:
    """A producer to which nothing happens, unless it gives up."""

    def __init__(self, cluster: SimulatedCluster, host: Host) -> None:
        self._cluster = cluster
        self._steady = Producer(cluster.kafka, host, {})
        self._hasty = Producer(cluster.kafka, host, {"lost": 0.3, "late": 0.3, "refused": 1.0})
        self._reports: dict[int, Report] = {}
        self._appends = 0

    def append(self, topic: str, partition: int, value: bytes) -> None:
        """Begin an append."""
        self._append(self._steady, topic, partition, value)

    def reports(self) -> list[Report]:
        """Return the reports of the appends so far."""
        self._cluster.schedule.run(None, _MOST_CALLS)
        reports, self._reports, self._appends = self._reports, {}, 0
        return [report for _, report in sorted(reports.items())]

    def give_up(self, topic: str, partition: int, value: bytes) -> Report:
        """Append, and give up."""
        self._append(self._hasty, topic, partition, value)
        return self.reports()[0]

    def _append(self, producer: Producer, topic: str, partition: int, value: bytes) -> None:
        number = self._appends
        producer.append(topic, partition, Draft(value), lambda report: self._reports.update({number: report}))
        self._appends += 1


class SimulatedMember:
    """A member of a simulated group."""

    def __init__(self, cluster: SimulatedCluster, group: Group, host: Host) -> None:
        self._cluster = cluster
        self._group = group
        self._host = host
        self._assigned: frozenset[int] = frozenset()
        host.on_silence = lambda: group.look_at(host)
        group.join(GroupMember(host, self._take))

    def _take(self, partitions: frozenset[int]) -> None:
        self._assigned = partitions

    def assignment(self) -> set[int]:
        """Let some time pass."""
        self._cluster.schedule.run(self._cluster.schedule.now + 10 * MILLISECOND, _MOST_CALLS)
        return set(self._assigned)

    def commit(self, partition: int, offset: int, metadata: str) -> bool:
        """Commit an offset."""
        return self._group.commit(self._host, partition, offset, metadata)

    def committed(self, partition: int) -> tuple[int, str] | None:
        """Return what is committed."""
        return self._group.committed.get(partition)

    def fall_silent(self) -> None:
        """Stop the process."""
        self._host.pause("for the suite", _AGES)

    def close(self) -> None:
        """End the process."""
        self._host.crash("at the end")
