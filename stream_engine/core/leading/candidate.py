"""Taking the lead of a partition, without its I/O: recovery of its state, and election.

The seam, in the order in which a shell calls it; what is in capitals the shell must do before the next call:

1. ASK which logs there are now, and where the journal begins. ``Candidate(...)`` over the partition's store: if ``must_restore``,
   see `stream_engine.core.partition.snapshot.Restore`, and go on with another one that is told that the store was ``restored``.
2. READ the journal from ``reads_from`` on, in order: ``replay(offset, raw)`` for each record; WRITE each returned `Change` to the
   store, whole, in order. A copy that stands by does this all the time.
3. READ what operators have halted by now. ``campaign(at)`` returns the `LeaderElected` to APPEND; ``elected(offset)`` takes the offset that Kafka
   acknowledged, or None for anything else, and returns the range of the journal that is still to be READ and replayed: up to
   that very record, never "until no more come".
4. ``lead(rules)`` returns the `stream_engine.core.leading.leader.Leader` of the new term.

`DeposedError` ends the attempt: begin again, after a random pause, while the group assigns the partition; so does a journal that
no longer has what is to be read. `MismatchError` says that the store was folded from another log than this one: EMPTY it,
loudly, and begin again. `TornError` (see `stream_engine.core.records.origin`) and `LostStateError` say that nothing can be made of what
there is, `UnreadableError` (see `stream_engine.core.records.decoding`) that this engine cannot: stop.
"""

import zlib
from collections import deque

from msgspec import DecodeError
from msgspec.structs import replace

from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Change, DeposedError, Told
from stream_engine.core.partition.fence import advance
from stream_engine.core.partition.snapshot import LostStateError
from stream_engine.core.partition.state import Store
from stream_engine.core.partition.turn import Rules
from stream_engine.core.records.decoding import ForeignError, check_format, decode_journal
from stream_engine.core.records.journal import WRITES, Decided, JournalRecord, LeaderElected, Mark, encode
from stream_engine.core.records.origin import MismatchError, Origin, check_copy
from stream_engine.core.records.tables import FOLDED, FOLDED_KEY, Folded


class Candidate:
    """One attempt to lead one partition; see the module for the order of calls."""

    def __init__(self, name: str, store: Store, origin: Origin, *, restored: bool = False) -> None:
        """Look at the store, which is to be a copy of ``origin``; ``restored``: it was just read from the state topic.

        Raises:
            MismatchError: the store is a copy of something else, or cannot be told to be one.
            TornError: the store shows that the logs do not belong together.
            LostStateError: what was restored does not fit.
            UnreadableError: a newer engine wrote what the store has folded.
        """
        self._restored = restored
        self._folded = self._look(store, origin)
        self._name = name
        self._store = store
        self._opened = self._folded.mark
        self._judged = self._folded.told
        self._untold: deque[Told] = deque()
        self._next = self._folded.journal
        self._epoch = -1

    @property
    def reads_from(self) -> int:
        """The offset of the journal from which on it is to be replayed; it begins below what the store has, where that is untold."""
        return self._next

    def must_restore(self, journal_start: int) -> bool:
        """Return whether the journal, which now begins at an offset, has been trimmed beyond what the store has."""
        return self._next < journal_start

    def campaign(self, at: int) -> bytes:
        """Return the record that claims the lead; ``at`` is the time, in milliseconds since the epoch."""
        return encode(LeaderElected(self._name, at, WRITES))

    def elected(self, offset: int | None) -> range:
        """Take the offset of the claim; return the offsets of the journal to read, the claim's own included.

        Raises:
            DeposedError: Kafka did not acknowledge the claim, so that where it lies, if at all, is not known.
            MismatchError, LostStateError: the log ends before what the store has folded.
        """
        if offset is None:
            raise DeposedError("the claim to lead was not acknowledged")
        if offset <= self._opened.offset:
            raise self._mismatch(
                f"the store has folded up to offset {self._opened.offset}; the journal ends at {offset}"
            )
        self._epoch = offset
        return range(self._next, offset + 1)

    def replay(self, offset: int, raw: bytes) -> Change | None:
        """Fold one record of the journal; return what is to be written, or None if the record does not count.

        Raises:
            MismatchError, LostStateError: the record is not the one that the store has folded at this offset.
            UnreadableError: a newer engine wrote the record.
        """
        self._next = offset + 1
        try:
            record = decode_journal(raw)
        except ForeignError:
            return None
        if offset == self._opened.offset:
            self._compare(record, raw)
        self._judge(offset, record)
        mark = advance(self._folded.mark, offset, record)
        if mark is None:
            return None
        folded = replace(
            self._folded,
            mark=mark,
            written=self._folded.written + len(raw),
            crc=zlib.crc32(raw),
            format=max(self._folded.format, record.format),
        )
        if isinstance(record, LeaderElected):
            self._folded = folded
            return Change([(FOLDED_KEY, encode(folded))], [])
        checkpoint = record.checkpoint or folded.checkpoint
        self._folded = replace(
            folded, commands=record.commands, now=record.now, told=record.told, checkpoint=checkpoint
        )
        return Change([*record.puts, (FOLDED_KEY, encode(self._folded))], record.deletes)

    def lead(self, rules: Rules) -> Leader:
        """Return the leader of the new term.

        Raises:
            DeposedError: another claim follows this one, or the range was not read to its end.
        """
        if self._folded.mark != Mark(self._epoch, self._epoch, 0):
            raise DeposedError(f"the journal was folded to {self._folded.mark}, not to the claim at {self._epoch}")
        return Leader(self._folded, self._store, rules, list(self._untold))

    def _look(self, store: Store, origin: Origin) -> Folded:
        raw = store.get(FOLDED_KEY)
        if raw is None:
            if next(store.scan(b"", b"\xff"), None) is not None:
                raise self._mismatch(
                    "the store has entries, and no place in the journal; its restoration was interrupted"
                )
            return Folded(origin.logs.journal, origin=origin)
        try:
            folded = FOLDED.decode(raw)
        except DecodeError as error:
            raise self._mismatch(f"the store does not tell how far it has come: {error}") from error
        if folded.origin is not None:
            check_copy(folded.origin, origin)
        elif folded.topic_id != origin.logs.journal:
            raise self._mismatch(
                f"the store folds the journal {folded.topic_id}; the topic is now {origin.logs.journal}"
            )
        check_format(folded.format)
        return replace(folded, origin=origin)

    def _compare(self, record: JournalRecord, raw: bytes) -> None:
        opened, crc = self._opened, self._folded.crc
        if isinstance(record, Decided):
            same = (record.epoch, record.n) == (opened.epoch, opened.n)
        else:
            same = (opened.offset, 0) == (opened.epoch, opened.n)
        # Where the end of the log was lost, another leader may have had the same epoch and number for another record.
        if not same or crc not in {None, zlib.crc32(raw)}:
            raise self._mismatch(f"the store has folded {opened}; the journal has another record at this offset")

    def _mismatch(self, what: str) -> MismatchError | LostStateError:
        """Return the error to raise; what was restored would be restored again, and be as wrong."""
        if self._restored:
            return LostStateError(f"what was restored from the state topic does not fit: {what}")
        return MismatchError(what)

    def _judge(self, offset: int, record: JournalRecord) -> None:
        """Keep what has to be told again, should this candidate be elected."""
        mark = advance(self._judged, offset, record)
        if mark is None:
            return
        self._judged = mark
        if not isinstance(record, Decided):
            return
        while self._untold and self._untold[0].mark.offset <= record.told.offset:
            self._untold.popleft()
        if record.history:
            self._untold.append(Told(mark, record.history))
