"""A second, naive fold of a journal: the rule of what counts, written down again without a look at the core's."""

import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from stream_engine.core.records.decoding import decode_journal
from stream_engine.core.records.history import HistoryRecord
from stream_engine.core.records.journal import Decided, LeaderElected, Mark
from stream_engine.core.records.origin import Origin
from stream_engine.core.records.tables import OUTBOX, Folded
from tests.simulation.kafka import Stored


@dataclass(frozen=True)
class Snapshot:
    """The state at one offset of a journal."""

    folded: Folded
    data: dict[bytes, bytes]


class NaiveFold:
    """What the journal of one partition says, record by record as they land."""

    def __init__(self, origin: Origin, counts: Callable[["NaiveFold", int, Decided], None]) -> None:
        self.epoch = -1
        self.n = 0
        self.data: dict[bytes, bytes] = {}
        self.snapshots: dict[int, Snapshot] = {}
        self.counted: dict[int, Decided] = {}
        self.posted: dict[bytes, bytes] = {}
        self.passed_over: Counter[str] = Counter()
        self.leader = ""
        self.claimed_at = 0
        self.folded = Folded(origin.logs.journal, origin=origin)
        self._counts = counts

    def land(self, stored: Stored) -> None:
        """Take the next record of the journal."""
        assert stored.value is not None
        record = decode_journal(stored.value)
        if isinstance(record, LeaderElected):
            self.epoch, self.n = stored.offset, 0
            self.leader, self.claimed_at = record.leader, stored.timestamp
            self.folded = replace(
                self.folded,
                mark=self.mark(stored.offset),
                written=self.folded.written + len(stored.value),
                crc=zlib.crc32(stored.value),
                format=max(self.folded.format, record.format),
            )
        elif self.epoch < 0 or record.epoch != self.epoch:
            self.passed_over["of an older epoch"] += 1
            return
        elif record.n != self.n + 1:
            self.passed_over["behind a gap"] += 1
            return
        else:
            self._take(stored.offset, record, stored.value)
        self.snapshots[stored.offset] = Snapshot(self.folded, dict(self.data))

    def mark(self, offset: int) -> Mark:
        """Return the place at an offset, in the epoch in force."""
        return Mark(offset, self.epoch, self.n)

    def history(self) -> dict[tuple[int, int, int], HistoryRecord]:
        """Return what the counted records tell, by epoch, number and index."""
        return {
            (record.epoch, record.n, index): told
            for record in self.counted.values()
            for index, told in enumerate(record.history)
        }

    def _take(self, offset: int, record: Decided, raw: bytes) -> None:
        self.n += 1
        self._counts(self, offset, record)
        self.folded = replace(
            self.folded,
            mark=self.mark(offset),
            commands=record.commands,
            now=record.now,
            told=record.told,
            written=self.folded.written + len(raw),
            checkpoint=record.checkpoint or self.folded.checkpoint,
            crc=zlib.crc32(raw),
            format=max(self.folded.format, record.format),
        )
        for key, value in record.puts:
            self.data[key] = value
            if key.startswith(OUTBOX.prefix):
                self.posted[key] = value
        for key in record.deletes:
            self.data.pop(key, None)
        self.counted[offset] = record
