"""What the engine needs of Kafka, as small as the suite needs it; the simulated one and the real one both offer it."""

from typing import Protocol

from tests.simulation.kafka import Report


class Writer(Protocol):
    """An idempotent producer with acks=all."""

    def append(self, topic: str, partition: int, value: bytes) -> None:
        """Begin an append."""

    def reports(self) -> list[Report]:
        """Wait for the reports of all appends since the last call; return them in the order of the appends."""

    def give_up(self, topic: str, partition: int, value: bytes) -> Report:
        """Append, and have the report at once, whether or not the acknowledgement has come."""


class Member(Protocol):
    """A consumer in a group."""

    def assignment(self) -> set[int]:
        """Take part in the group for a moment; return the partitions that this member has as far as it knows."""

    def commit(self, partition: int, offset: int, metadata: str) -> bool:
        """Commit an offset; return whether Kafka took it."""

    def committed(self, partition: int) -> tuple[int, str] | None:
        """Return what is committed for a partition."""

    def fall_silent(self) -> None:
        """Take no part in the group from now on, as a process does that is stopped."""

    def close(self) -> None:
        """Leave the group."""


class Cluster(Protocol):
    """A Kafka cluster."""

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic; one of that name is deleted first."""

    def topic_id(self, topic: str) -> str:
        """Return the identity of a topic."""

    def end(self, topic: str, partition: int) -> int:
        """Return the offset that the next record of a partition gets."""

    def read(self, topic: str, partition: int, offsets: range) -> list[tuple[int, bytes]]:
        """Return the records at some offsets, with their offsets, in the order in which they are read."""

    def writer(self) -> Writer:
        """Return a new producer."""

    def member(self, group: str, topic: str) -> Member:
        """Join a group that reads a topic."""
