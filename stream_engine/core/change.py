"""What passes between a leader and its shell."""

from stream_engine.core.history import HistoryRecord
from stream_engine.core.records import Commands, Mark, Record
from stream_engine.core.tables import Outgoing
from stream_engine.core.turn import Effect


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


class Committed(Record, frozen=True):
    """What takes effect now that its record counts. ``sends`` are the keys and messages of the outbox, in order."""

    change: Change
    sends: list[tuple[bytes, Outgoing]]
    told: Told
    effects: list[Effect]


class Take(Record, frozen=True):
    """A record of the commands topic as an input of decisions; ``commands`` is None if it could not be read."""

    offset: int
    commands: Commands | None
