"""Snapshots of a partition's state in the state topic, so that an empty disk can rebuild it and the logs can be trimmed.

A snapshot is all entries of the store as they are at one place of the journal, in chunks, and a last record that says how
many there are. Nothing of it is ever replaced. Because a store holds nothing but the fold of what counts, a snapshot is
true whoever wrote it, and however late; so writing and reading need no fence. What needs one is trimming: the leader names
a complete snapshot in its journal, and only once that record counts, what lies before is given up (`docs/model`).

Writing, in the order of calls; what is in capitals the shell must do before the next:

1. ``leader.snapshot()`` when ``leader.checkpoint_due``. TAKE A VIEW of the store as it is between two writes.
2. APPEND ``records(entries)`` of that view, without the entry `FOLDED_KEY`, to the partition of the state topic. After any
   failure: ``leader.abandoned()``.
3. ``leader.written(checkpoint)`` with what ``named`` returns. The journal record that names it comes with the next decision.

Reading: see `Restore`.
"""

from collections.abc import Iterable, Iterator

from stream_engine.core.partition.change import Change
from stream_engine.core.records.chunks import Chunk, Complete, SnapshotId
from stream_engine.core.records.decoding import ForeignError, decode_state
from stream_engine.core.records.journal import Checkpoint, encode
from stream_engine.core.records.tables import FOLDED, FOLDED_KEY, Folded

CHUNK_BYTES = 256 * 1024
"""How much a chunk holds; its last entry may add as much as one entry can have."""


class LostStateError(Exception):
    """The journal has been trimmed, and no snapshot reaches to where it begins: nothing can rebuild the state."""


class SpoiledError(Exception):
    """A snapshot turned out to be incomplete; see `Restore` for what to do."""


class Snapshot:
    """One snapshot, to be written."""

    def __init__(self, epoch: int, serial: int, folded: Folded) -> None:
        self._id = SnapshotId(folded.topic_id, epoch, serial)
        self._folded = folded
        self._size = 0

    def records(self, entries: Iterable[tuple[bytes, bytes]], chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield what is to be appended to the state topic, in order; a chunk is closed when it holds so many bytes."""
        chunk: list[tuple[bytes, bytes]] = []
        number = size = 0
        for key, value in entries:
            chunk.append((key, value))
            size += len(key) + len(value)
            if size >= chunk_bytes:
                yield self._sized(Chunk(self._id, self._folded.journal, number, chunk, self._folded.format))
                chunk, number, size = [], number + 1, 0
        if chunk:
            yield self._sized(Chunk(self._id, self._folded.journal, number, chunk, self._folded.format))
            number += 1
        yield self._sized(Complete(self._id, number, encode(self._folded), self._folded.format))

    def named(self, first: int) -> Checkpoint:
        """Return what names the snapshot once all of it is acknowledged, the earliest of it at offset ``first``."""
        folded = self._folded
        return Checkpoint(folded.mark, folded.told, folded.commands, first, self._size, folded.written)

    def _sized(self, record: Chunk | Complete) -> bytes:
        raw = encode(record)
        self._size += len(raw)
        return raw


class Restore:
    """Finds a complete snapshot in the state topic that reaches to where the journal begins, and yields its entries.

    The seam, in the order of calls; what is in capitals the shell must do before the next:

    1. EMPTY the store. ``take(raw)`` for each record of the partition of the state topic, from the log's start to an end that
       was asked for before; WRITE each returned `Change`. Stop once ``complete``.
    2. ``ended()`` where that end is reached first.

    `SpoiledError` from either: begin at 1 with what ``again()`` returns, which passes over the snapshot that was incomplete.
    The first complete one is taken: after a trim it is the one that was named.
    """

    def __init__(self, topic_id: str, journal_start: int, spoiled: frozenset[SnapshotId] = frozenset()) -> None:
        self.complete = False
        self.journal_start = journal_start
        self._topic_id = topic_id
        self._spoiled = spoiled
        self._loading: SnapshotId | None = None
        self._next = 0

    def take(self, raw: bytes) -> Change | None:
        """Take a record of the state topic; return what is to be written, or None.

        Raises:
            SpoiledError: the snapshot that was being read lacks a chunk.
            UnreadableError: a newer engine wrote the record.
        """
        try:
            record = decode_state(raw)
        except ForeignError:
            return None
        if isinstance(record, Chunk):
            return self._take_chunk(record)
        if record.id != self._loading:
            # A snapshot without entries has no chunk to begin with.
            if record.chunks or not self._reaches(record.id, FOLDED.decode(record.folded).journal):
                return None
        elif record.chunks != self._next:
            raise self._spoil(record.id)
        self.complete = True
        return Change([(FOLDED_KEY, record.folded)], [])

    def again(self) -> "Restore":
        """Return one that begins anew, and knows which snapshots are incomplete."""
        return Restore(self._topic_id, self.journal_start, self._spoiled)

    def ended(self) -> None:
        """Note that the topic has been read to its end, and no snapshot was complete.

        Raises:
            SpoiledError: one was being read.
            LostStateError: there is none.
        """
        if self._loading is not None:
            raise self._spoil(self._loading)
        raise LostStateError(
            f"the journal begins at offset {self.journal_start}, and no complete snapshot in the state topic reaches that far"
        )

    def _take_chunk(self, chunk: Chunk) -> Change | None:
        if self._loading is None:
            if not self._reaches(chunk.id, chunk.journal):
                return None
            self._loading = chunk.id
        elif chunk.id != self._loading:
            return None
        if chunk.number < self._next:
            return None  # it landed twice
        if chunk.number > self._next:
            raise self._spoil(chunk.id)
        self._next += 1
        return Change(chunk.entries, [])

    def _reaches(self, id: SnapshotId, journal: int) -> bool:
        return id.topic_id == self._topic_id and id not in self._spoiled and journal >= self.journal_start

    def _spoil(self, id: SnapshotId) -> SpoiledError:
        self._spoiled |= {id}
        return SpoiledError(f"the snapshot {id} is incomplete")
