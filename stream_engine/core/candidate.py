"""Taking the lead of a partition, without its I/O: recovery of its state, and election.

The seam, in the order in which a shell calls it; what is in capitals the shell must do before the next call:

1. ``Candidate(...)`` over the partition's store. ASK where the journal begins: if ``must_restore``, see
   `stream_engine.core.snapshot.Restore`, and begin again.
2. READ the journal from ``reads_from`` on, in order: ``replay(offset, raw)`` for each record; WRITE each returned `Change` to the
   store, whole, in order. A copy that stands by does this all the time.
3. ``campaign(at)``, at any time, returns the `LeaderElected` to APPEND; ``elected(offset)`` takes the offset that Kafka
   acknowledged, or None for anything else, and returns the range of the journal that is still to be READ and replayed: up to
   that very record, never "until no more come".
4. ``lead(rules)`` returns the `stream_engine.core.leader.Leader` of the new term.

`DeposedError` ends the attempt: begin again, after a random pause, while the group assigns the partition; so does a journal that
no longer has what is to be read. `MismatchError` says that the store was folded from another log than this one: EMPTY it,
loudly, and begin again.
"""

from collections import deque

from stream_engine.core.change import Change, DeposedError, Told
from stream_engine.core.fence import advance
from stream_engine.core.leader import Leader
from stream_engine.core.records import (
    Decided,
    ForeignError,
    JournalRecord,
    LeaderElected,
    Mark,
    decode_journal,
    encode,
)
from stream_engine.core.state import Store
from stream_engine.core.tables import FOLDED, FOLDED_KEY, Folded
from stream_engine.core.turn import Rules


class MismatchError(Exception):
    """The store holds the fold of another journal: the topic was created again, or its end was lost."""


class Candidate:
    """One attempt to lead one partition; see the module for the order of calls."""

    def __init__(self, name: str, store: Store, topic_id: str) -> None:
        raw = store.get(FOLDED_KEY)
        self._folded = Folded(topic_id) if raw is None else FOLDED.decode(raw)
        if self._folded.topic_id != topic_id:
            raise MismatchError(f"the store folds the journal {self._folded.topic_id}; the topic is now {topic_id}")
        if raw is None and next(store.scan(b"", b"\xff"), None) is not None:
            raise MismatchError("the store has entries, and no place in the journal; its restoration was interrupted")
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
        return encode(LeaderElected(self._name, at))

    def elected(self, offset: int | None) -> range:
        """Take the offset of the claim; return the offsets of the journal to read, the claim's own included.

        Raises:
            DeposedError: Kafka did not acknowledge the claim, so that where it lies, if at all, is not known.
            MismatchError: the log ends before what the store has folded.
        """
        if offset is None:
            raise DeposedError("the claim to lead was not acknowledged")
        if offset <= self._opened.offset:
            raise MismatchError(
                f"the store has folded up to offset {self._opened.offset}; the journal ends at {offset}"
            )
        self._epoch = offset
        return range(self._next, offset + 1)

    def replay(self, offset: int, raw: bytes) -> Change | None:
        """Fold one record of the journal; return what is to be written, or None if the record does not count.

        Raises:
            MismatchError: the record is not the one that the store has folded at this offset.
            UnreadableError: a newer engine wrote the record.
        """
        self._next = offset + 1
        try:
            record = decode_journal(raw)
        except ForeignError:
            return None
        if offset == self._opened.offset:
            self._compare(record)
        self._judge(offset, record)
        mark = advance(self._folded.mark, offset, record)
        if mark is None:
            return None
        folded, written = self._folded, self._folded.written + len(raw)
        if isinstance(record, LeaderElected):
            self._folded = Folded(
                folded.topic_id, mark, folded.commands, folded.now, folded.told, written, folded.checkpoint
            )
            return Change([(FOLDED_KEY, encode(self._folded))], [])
        self._folded = Folded(
            folded.topic_id,
            mark,
            record.commands,
            record.now,
            record.told,
            written,
            record.checkpoint or folded.checkpoint,
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

    def _compare(self, record: JournalRecord) -> None:
        opened = self._opened
        if isinstance(record, Decided):
            same = (record.epoch, record.n) == (opened.epoch, opened.n)
        else:
            same = (opened.offset, 0) == (opened.epoch, opened.n)
        if not same:
            raise MismatchError(f"the store has folded {opened}; the journal has another record at this offset")

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
