"""One attempt of this worker to lead a partition: from its store, through its logs, to a leader or back to the start."""

import logging
from collections.abc import Callable
from typing import Protocol

from stream_engine.core.candidate import Candidate
from stream_engine.core.change import DeposedError
from stream_engine.core.leader import Leader
from stream_engine.core.snapshot import LostStateError, Restore, SpoiledError
from stream_engine.core.turn import Rules
from stream_engine.shell.clock import now_ms
from stream_engine.shell.recovery import Reading, Recovery
from stream_engine.shell.store import RocksStore
from stream_engine.shell.topics import Names

_log = logging.getLogger(__name__)


class Surroundings(Protocol):
    """What a candidacy needs of its process."""

    @property
    def name(self) -> str:
        """The worker's name."""

    @property
    def names(self) -> Names:
        """The app's topics."""

    @property
    def journal_id(self) -> str:
        """The topic id of the journal."""

    @property
    def recovery(self) -> Recovery:
        """What reads logs."""

    @property
    def rules(self) -> Callable[[int], Rules]:
        """What decisions go by, by partition."""


class Seat(Protocol):
    """What a candidacy is for."""

    @property
    def partition(self) -> int:
        """The partition to lead."""

    def guard(self, candidacy: "Candidacy", step: Callable[[], None]) -> None:
        """Do something that may raise what ends a candidacy; do nothing for one that is over."""

    def append(self, raw: bytes, about: "Candidacy") -> None:
        """Append a claim to the journal, and have it reported to `Candidacy.elected`."""

    def take(self, leader: Leader) -> None:
        """Begin to lead."""


class Candidacy:
    """Drives the core's `Candidate`, and `Restore` where the journal has been trimmed; lives on the leaders' thread."""

    def __init__(self, seat: Seat, process: Surroundings, store: RocksStore) -> None:
        self._seat = seat
        self._partition = seat.partition
        self._process = process
        self._store = store
        self._claim = b""
        self._last = -1
        self._commands_start = 0
        self._candidate: Candidate | None = None
        self._restore: Restore | None = None

    def begin(self) -> None:
        """Look at the store, and at the logs as they are now."""
        names, partition = self._process.names, self._partition
        self._candidate = self._fresh()
        self._process.recovery.ask(
            [(names.journal, partition), (names.commands, partition), (names.state, partition)],
            lambda found: self._seat.guard(self, lambda: self._asked(*found)),
            self._failed,
        )

    def elected(self, offset: int | None) -> None:
        """Take Kafka's report of the claim."""
        candidate = self._candidate
        assert candidate is not None
        to_read = candidate.elected(offset)
        self._last = to_read[-1]
        if len(to_read) == 1:
            self._replayed(self._last, self._claim)
        else:
            self._read(self._process.names.journal, to_read, self._replayed)

    def _fresh(self) -> Candidate:
        return Candidate(self._process.name, self._store, self._process.journal_id)

    def _asked(self, journal: range, commands: range, state: range) -> None:
        assert self._candidate is not None
        self._commands_start = commands.start
        if not self._candidate.must_restore(journal.start):
            self._campaign(self._candidate)
            return
        _log.warning(
            "partition %d: the journal begins at offset %d, and the store needs it from %d on; rebuilt from %s",
            self._partition,
            journal.start,
            self._candidate.reads_from,
            self._process.names.state,
        )
        self._restore = Restore(self._process.journal_id, journal.start)
        self._restore_from(self._restore, state)

    def _restore_from(self, restore: Restore, state: range) -> None:
        self._store.empty()
        if state:
            self._read(self._process.names.state, state, lambda at, raw: self._restored(restore, state, at, raw))
        else:
            restore.ended()

    def _restored(self, restore: Restore, state: range, offset: int, raw: bytes) -> None:
        if restore is not self._restore:
            return
        try:
            change = restore.take(raw)
            if change is not None:
                self._store.write(change)
            if restore.complete:
                self._restore = None
                self._process.recovery.leave((self._process.names.state, self._partition))
                self._candidate = self._fresh()
                self._campaign(self._candidate)
            elif offset == state[-1]:
                restore.ended()
        except SpoiledError as error:
            _log.info("partition %d: %s; looking for another", self._partition, error)
            # A new object, so that what has been read already of this reading is left out.
            self._restore = restore.again()
            self._restore_from(self._restore, state)

    def _campaign(self, candidate: Candidate) -> None:
        self._claim = candidate.campaign(now_ms())
        self._seat.append(self._claim, self)

    def _replayed(self, offset: int, raw: bytes) -> None:
        candidate = self._candidate
        assert candidate is not None
        change = candidate.replay(offset, raw)
        if change is not None:
            self._store.write(change)
        if offset == self._last:
            leader = candidate.lead(self._process.rules(self._partition))
            if leader.commands < self._commands_start:
                raise LostStateError(
                    f"{self._process.names.commands}/{self._partition} begins at offset {self._commands_start}, "
                    f"and commands from {leader.commands} on have not been taken"
                )
            self._seat.take(leader)

    def _read(self, topic: str, offsets: range, take: Callable[[int, bytes], None]) -> None:
        self._process.recovery.read(
            Reading(
                (topic, self._partition),
                offsets,
                lambda offset, raw: self._seat.guard(self, lambda: take(offset, raw)),
                self._failed,
            )
        )

    def _failed(self, why: str) -> None:
        def fail() -> None:
            raise DeposedError(f"the state could not be recovered: {why}")

        self._seat.guard(self, fail)
