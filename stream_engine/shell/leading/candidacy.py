"""One attempt of this worker to lead a partition: from its store, through its logs, to a leader or back to the start."""

import logging
from collections.abc import Callable
from typing import Protocol

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import DeposedError
from stream_engine.core.partition.snapshot import LostStateError, Restore, SpoiledError
from stream_engine.core.partition.turn import Rules
from stream_engine.core.records.origin import Logs, Origin, check_together
from stream_engine.shell.clock import now_ms
from stream_engine.shell.leading.recovery import Reading, Recovery
from stream_engine.shell.leading.write_behind import WriteBehind
from stream_engine.shell.topics import Names

_log = logging.getLogger(__name__)
_NEVER = 2**62


class Surroundings(Protocol):
    """What a candidacy needs of its process."""

    @property
    def name(self) -> str:
        """The worker's name."""

    @property
    def names(self) -> Names:
        """The app's topics."""

    @property
    def logs(self) -> Logs:
        """The app's logs, as they were when the process began."""

    @property
    def recovery(self) -> Recovery:
        """What reads logs."""

    @property
    def rules(self) -> Callable[[int], Rules]:
        """What decisions go by, by partition."""

    @property
    def when_caught_up(self) -> Callable[[Callable[[], None]], None]:
        """Has something called on the leaders' thread once all is known that operators have written down by now."""


class Seat(Protocol):
    """What a candidacy is for."""

    @property
    def partition(self) -> int:
        """The partition to lead."""

    @property
    def assigned(self) -> bool:
        """Whether it is to be led, and not only followed."""

    def guard(self, candidacy: "Candidacy", step: Callable[[], None]) -> None:
        """Do something that may raise what ends a candidacy; do nothing for one that is over."""

    def append(self, raw: bytes, about: "Candidacy") -> None:
        """Append a claim to the journal, and have it reported to `Candidacy.elected`."""

    def take(self, leader: Leader, records: int) -> None:
        """Begin to lead, after having read so many records of the journal since the claim was made."""


class Candidacy:
    """Drives the core's `Candidate`, and `Restore` where the journal has been trimmed; lives on the leaders' thread.

    Where the seat is not assigned, it follows the journal without an end, until `promote`.
    """

    def __init__(self, seat: Seat, process: Surroundings, store: WriteBehind) -> None:
        self._seat = seat
        self._partition = seat.partition
        self._process = process
        self._store = store
        self._claim = b""
        self._last = -1
        self._following = False
        self._end = 0
        self._records = 0
        self._commands_start = 0
        self._candidate: Candidate | None = None
        self._restore: Restore | None = None

    def begin(self) -> None:
        """Look at the store, and at the logs as they are now."""
        names, partition = self._process.names, self._partition
        self._process.recovery.ask(
            [(names.journal, partition), (names.commands, partition), (names.state, partition)],
            lambda logs, found: self._seat.guard(self, lambda: self._asked(logs, *found)),
            self._failed,
        )

    def promote(self) -> None:
        """Campaign, now that the seat is assigned; one that is still being restored does so by itself."""
        if self._following:
            self._campaign(self._ready())

    def end(self) -> None:
        """Read no more."""
        names = self._process.names
        for topic in (names.journal, names.state):
            self._process.recovery.leave((topic, self._partition))

    def elected(self, offset: int | None) -> None:
        """Take Kafka's report of the claim."""
        to_read = self._ready().elected(offset)
        self._records = len(to_read)
        self._last = to_read.stop - 1
        if not to_read:
            self._lead()
        elif self._following:
            return
        elif len(to_read) == 1:
            self._replayed(self._last, self._claim)
        else:
            self._read(self._process.names.journal, to_read, self._replayed)

    def _look(self, *, restored: bool = False) -> Candidate:
        origin = Origin(self._process.logs, self._partition)
        self._candidate = Candidate(self._process.name, self._store, origin, restored=restored)
        return self._candidate

    def _ready(self) -> Candidate:
        assert self._candidate is not None
        return self._candidate

    def _proceed(self, candidate: Candidate) -> None:
        if self._seat.assigned:
            self._campaign(candidate)
        else:
            self._following = True
            self._say_if_caught_up(candidate.reads_from)
            self._read(self._process.names.journal, range(candidate.reads_from, _NEVER), self._replayed)

    def _asked(self, logs: Logs, journal: range, commands: range, state: range) -> None:
        check_together(self._process.logs, logs)
        candidate = self._look()
        self._end = journal.stop
        self._commands_start = commands.start
        if not candidate.must_restore(journal.start):
            self._proceed(candidate)
            return
        _log.warning(
            "partition %d: the journal begins at offset %d, and the store needs it from %d on; rebuilt from %s",
            self._partition,
            journal.start,
            candidate.reads_from,
            self._process.names.state,
        )
        self._restore = Restore(self._process.logs.journal, journal.start)
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
                self._proceed(self._look(restored=True))
            elif offset == state[-1]:
                restore.ended()
        except SpoiledError as error:
            _log.info("partition %d: %s; looking for another", self._partition, error)
            # A new object, so that what has been read already of this reading is left out.
            self._restore = restore.again()
            self._restore_from(self._restore, state)

    def _campaign(self, candidate: Candidate) -> None:
        """Claim the partition, once it is known what operators have halted: they have not waited for a worker that its group took for gone."""

        def claim() -> None:
            self._claim = candidate.campaign(now_ms())
            self._seat.append(self._claim, self)

        self._process.when_caught_up(lambda: self._seat.guard(self, claim))

    def _replayed(self, offset: int, raw: bytes) -> None:
        change = self._ready().replay(offset, raw)
        if change is not None:
            self._store.write(change)
        if self._following:
            self._say_if_caught_up(offset + 1)
        if offset == self._last:
            self._lead()

    def _say_if_caught_up(self, at: int) -> None:
        if at >= self._end:
            self._end = _NEVER
            _log.info("partition %d: a copy is kept, and has caught up", self._partition)

    def _lead(self) -> None:
        leader = self._ready().lead(self._process.rules(self._partition))
        if leader.commands < self._commands_start:
            raise LostStateError(
                f"{self._process.names.commands}/{self._partition} begins at offset {self._commands_start}, "
                f"and commands from {leader.commands} on have not been taken"
            )
        self.end()
        self._seat.take(leader, self._records)

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
