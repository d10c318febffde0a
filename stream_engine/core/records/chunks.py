"""The records of the state topic, by the rules of `stream_engine.core.records.journal`: a snapshot in chunks, and its end."""

from stream_engine.core.records.journal import FIRST, Record


class SnapshotId(Record, frozen=True):
    """Which snapshot a record of the state topic belongs to: the journal's topic id, and the writer's epoch and count."""

    topic_id: str
    epoch: int
    serial: int


class Chunk(Record, frozen=True, tag="chunk"):
    """Entries of a partition's state, as they were at one place of the journal.

    ``number`` counts the chunks of a snapshot from 0. ``journal`` is the offset that a reader of the snapshot goes on from.
    """

    id: SnapshotId
    journal: int
    number: int
    entries: list[tuple[bytes, bytes]]
    format: int = FIRST


class Complete(Record, frozen=True, tag="complete"):
    """The end of a snapshot: how many chunks it has, and the entry that says of which place it is the state."""

    id: SnapshotId
    chunks: int
    folded: bytes
    format: int = FIRST


StateRecord = Chunk | Complete
