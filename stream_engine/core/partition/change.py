"""What passes between a leader and its shell."""

from stream_engine.core.partition.turn import Effect
from stream_engine.core.records.history import HistoryRecord
from stream_engine.core.records.journal import Checkpoint, Mark, Record
from stream_engine.core.records.requests import Commands
from stream_engine.core.records.tables import Outgoing


class DeposedError(Exception):
    """The worker leads no more, and does not know what Kafka made of its last append."""


class Change(Record, frozen=True):
    """One atomic write to the store. ``puts`` includes the new `Folded`, so that state and place agree."""

    puts: list[tuple[bytes, bytes]]
    deletes: list[bytes]


class Told(Record, frozen=True):
    """What a journal record tells history; with the partition, its mark and an index name each telling for good."""

    mark: Mark
    records: list[HistoryRecord]


class Trim(Record, frozen=True):
    """Up to which offset, that one not included, the partition's records of each topic are not needed any more."""

    journal: int
    commands: int
    state: int


def trim_to(checkpoint: Checkpoint | None) -> Trim | None:
    """Return what a checkpoint that a counting record names allows to delete."""
    return None if checkpoint is None else Trim(checkpoint.journal, checkpoint.commands, checkpoint.first)


class Committed(Record, frozen=True):
    """What takes effect now that its record counts. ``sends`` are the keys and messages of the outbox, in order.

    Where the partition ``asks``, it is to be told by `CaughtUp` when all events are routed that came before some time from now on.
    """

    change: Change
    sends: list[tuple[bytes, Outgoing]]
    told: Told
    effects: list[Effect]
    trim: Trim | None = None
    asks: bool = False


class Take(Record, frozen=True):
    """A record of the commands topic as an input of decisions; ``commands`` is None if it could not be read.

    ``size`` is how many bytes the record has.
    """

    offset: int
    commands: Commands | None
    size: int = 0
