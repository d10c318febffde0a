"""One partition that the group has assigned to this worker: it campaigns, recovers, leads, and begins again when deposed."""

import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import Producer

from stream_engine.core.candidate import Candidate, MismatchError
from stream_engine.core.change import DeposedError, Take
from stream_engine.core.commands import Input
from stream_engine.core.leader import Leader
from stream_engine.core.turn import Effect, Rules
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.outbox import Outbox
from stream_engine.shell.store import RocksStore
from stream_engine.shell.telling import Teller
from stream_engine.shell.term import Term

_log = logging.getLogger(__name__)
_GROUP = 500
_MARK_SECONDS = 1.0
_BACKLOG = 256


@dataclass(frozen=True)
class Process:
    """What the partitions of a worker share: its clients, and what it does for them outside their thread."""

    name: str
    journal: Producer
    outgoing: Producer
    journal_topic: str
    journal_id: str
    history_topic: str
    rules: Callable[[int], Rules]
    recover: Callable[[int, range, Callable[[int, bytes], None]], None]
    take_from: Callable[[int, int], None]
    hold: Callable[[int, bool], None]
    reported: Callable[["Lead", object, int | None], None]
    wake: Callable[[], None]
    perform: Callable[[Term, list[Effect]], None]
    end_term: Callable[[Term], None]


class Sized(Protocol):
    """What limits how much is executed at a time in the whole worker."""

    def has_room(self) -> bool:
        """Return whether another run may begin."""


class Lead:
    """Drives the core's `Candidate` and `Leader` of a partition; lives on the leaders' thread."""

    def __init__(self, partition: int, process: Process, store: RocksStore, room: Sized) -> None:
        self.partition = partition
        self.appending = False
        self.ready_at = 0.0
        self._process = process
        self._store = store
        self._room = room
        self._candidate: Candidate | None = None
        self._leader: Leader | None = None
        self._term: Term | None = None
        self._commands: deque[Take] = deque()
        self._inputs: list[Take | Input] = []
        self._held = False
        self._appended_at = 0.0
        self._marked_at = 0.0
        self._claim = b""
        self._outbox: Outbox | None = None
        self._teller: Teller | None = None

    @property
    def leading(self) -> bool:
        """Whether the partition is led."""
        return self._leader is not None

    @property
    def running(self) -> int:
        """How many runs are being executed."""
        return self._leader.running if self._leader else 0

    @property
    def untold(self) -> bool:
        """Whether an acknowledgement of the history topic is still due."""
        return self._teller is not None and self._teller.waiting > 0

    def due(self, now: int) -> float | None:
        """Return in how many seconds `turn` has something to do without input; None for never."""
        if self._leader is None:
            return max(0.0, self.ready_at - monotonic()) if self._candidate is None else None
        at = self._leader.due()
        return None if at is None else max(0.0, (at - now) / 1_000)

    def arrived(self, takes: list[Take]) -> None:
        """Take records of the commands topic."""
        if self._leader is not None:
            self._commands.extend(takes)
            if not self._held and len(self._commands) > _BACKLOG:
                self._hold(held=True)

    def turn(self) -> None:
        """Do what can be done now: campaign, or decide and append."""
        if self.appending:
            return
        if self._leader is None:
            if self._candidate is None and monotonic() >= self.ready_at:
                self._campaign()
            return
        raw = self._decide(self._leader)
        if raw is not None:
            self._append(raw, self._leader)

    def reported(self, about: object, offset: int | None) -> None:
        """Take Kafka's report of an append made for a candidate or a leader, which may be gone by now."""
        if about is self._candidate and self._candidate is not None:
            self.appending = False
            self._guarded(lambda: self._elected(offset))
        elif about is self._leader and self._leader is not None:
            self.appending = False
            self._guarded(lambda: self._committed(offset))

    def step_down(self) -> None:
        """End the term, if there is one, dropping what was not acknowledged."""
        if self._term is not None:
            _log.info("partition %d: stepping down from epoch %d", self.partition, self._term.epoch)
            self._term.end()
            self._process.end_term(self._term)
        self.appending = False
        self._candidate = self._leader = self._term = self._outbox = self._teller = None
        self._commands.clear()
        self._inputs.clear()
        self.ready_at = monotonic() + random.uniform(0.05, 0.5)

    def close(self) -> None:
        """Close the store; the lead is of no use afterwards."""
        self._store.close()

    def retry(self) -> None:
        """Send and tell again what failed; call it now and then."""
        if self._outbox is not None and self._teller is not None:
            self._outbox.retry()
            self._teller.retry()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except DeposedError as error:
            _log.warning("partition %d: deposed, and a candidate again: %s", self.partition, error)
            self.step_down()
        except MismatchError as error:
            _log.warning("partition %d: the store is emptied and rebuilt: %s", self.partition, error)
            self.step_down()
            self._store = self._store.empty()

    def _campaign(self) -> None:
        def campaign() -> None:
            self._candidate = Candidate(self._process.name, self._store, self._process.journal_id)
            self._claim = self._candidate.campaign(now_ms())
            self._append(self._claim, self._candidate)

        self._guarded(campaign)

    def _elected(self, offset: int | None) -> None:
        assert self._candidate is not None
        candidate = self._candidate
        to_read = candidate.elected(offset)
        if len(to_read) == 1:
            self._replayed(candidate, to_read[-1], to_read[-1], self._claim)
            return
        last = to_read[-1]
        self._process.recover(
            self.partition,
            to_read,
            lambda at, raw: self._guarded(lambda: self._replayed(candidate, last, at, raw)),
        )

    def _replayed(self, candidate: Candidate, last: int, offset: int, raw: bytes) -> None:
        if candidate is not self._candidate:
            return
        change = candidate.replay(offset, raw)
        if change is not None:
            self._store.write(change)
        if offset == last:
            self._lead(candidate)

    def _lead(self, candidate: Candidate) -> None:
        process = self._process
        leader = candidate.lead(process.rules(self.partition))
        self._candidate, self._leader = None, leader
        self._term = Term(self.partition, leader.epoch, process.wake)
        self._outbox = Outbox(process.outgoing, leader.sent)
        self._teller = Teller(process.outgoing, process.history_topic, self.partition, leader.told)
        recovered = leader.recovered()
        for key, message in recovered.sends:
            self._outbox.send(key, message)
        for told in recovered.told:
            self._teller.tell(told)
        self._held = False
        process.take_from(self.partition, leader.commands)
        _log.info("partition %d: leading in epoch %d", self.partition, leader.epoch)

    def _decide(self, leader: Leader) -> bytes | None:
        term = self._term
        assert term is not None
        inputs = self._inputs
        while term.reports and len(inputs) < _GROUP:
            inputs.append(term.reports.popleft())
        while self._commands and len(inputs) < _GROUP and self._room.has_room():
            inputs.append(self._commands.popleft())
        if self._held and len(self._commands) < _BACKLOG // 2:
            self._hold(held=False)
        now = now_ms()
        due = leader.due()
        if inputs or (due is not None and due <= now) or self._to_mark(leader):
            return leader.decide(inputs, now)
        return leader.renew(now) if term.wants_lease else None

    def _to_mark(self, leader: Leader) -> bool:
        if not leader.unmarked or monotonic() < self._marked_at + _MARK_SECONDS:
            return False
        self._marked_at = monotonic()
        return True

    def _append(self, raw: bytes, about: object) -> None:
        process = self._process

        def delivered(error: Any, message: Any) -> None:
            process.reported(self, about, None if error is not None else message.offset())

        self._appended_at = monotonic()
        try:
            process.journal.produce(process.journal_topic, raw, None, self.partition, on_delivery=delivered)
            self.appending = True
        except BufferError:
            _log.warning("partition %d: the client's queue is full; a candidate again", self.partition)
            self.step_down()

    def _committed(self, offset: int | None) -> None:
        leader, term, outbox, teller = self._leader, self._term, self._outbox, self._teller
        assert leader is not None
        assert term is not None
        assert outbox is not None
        assert teller is not None
        committed = leader.acknowledged(offset)
        term.renew(self._appended_at)
        self._store.write(committed.change)
        if committed.effects:
            self._process.perform(term, committed.effects)
        for key, message in committed.sends:
            outbox.send(key, message)
        teller.tell(committed.told)

    def _hold(self, *, held: bool) -> None:
        self._held = held
        self._process.hold(self.partition, held)
