"""One partition that the group has assigned to this worker: it campaigns, recovers, leads, and begins again when deposed."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from stream_engine.core.leading.leader import Leader, Recovered
from stream_engine.core.partition.change import Committed, DeposedError, Take
from stream_engine.core.partition.snapshot import LostStateError
from stream_engine.core.partition.turn import Effect, Rules
from stream_engine.core.records.decoding import UnreadableError
from stream_engine.core.records.journal import Checkpoint
from stream_engine.core.records.origin import Logs, MismatchError, TornError
from stream_engine.core.records.requests import Command
from stream_engine.core.records.tables import FOLDED_KEY
from stream_engine.core.stages.commands import CallsRefused
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.deployment import torn
from stream_engine.shell.errors import UserError
from stream_engine.shell.leading.candidacy import Candidacy
from stream_engine.shell.leading.checkpoints import Checkpoints
from stream_engine.shell.leading.inputs import Inputs
from stream_engine.shell.leading.outbox import Outbox
from stream_engine.shell.leading.recovery import Recovery
from stream_engine.shell.leading.telling import Teller
from stream_engine.shell.leading.term import Term
from stream_engine.shell.leading.write_behind import WriteBehind
from stream_engine.shell.pauses import Deciding
from stream_engine.shell.topics import Names

_log = logging.getLogger(__name__)
MANY_UNTOLD = 5_000
"""When history is so many records behind, nothing new is begun until it has caught up."""
_MARK_SECONDS = 1.0
_CHECKPOINT_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Process:
    """What the partitions of a worker share: its clients, and what it does for them outside their thread."""

    name: str
    journal: Producer
    outgoing: Producer
    names: Names
    logs: Logs
    rules: Callable[[int], Rules]
    when_caught_up: Callable[[Callable[[], None]], None]
    deciding: Deciding
    recovery: Recovery
    checkpoints: Checkpoints
    take_from: Callable[[int, int], None]
    hold: Callable[[int, bool], None]
    reported: Callable[["Lead", object, int | None], None]
    wake: Callable[[], None]
    perform: Callable[[Term, list[Effect]], None]
    lend: Callable[[Term], None]
    end_term: Callable[[Term], None]
    give_back: Callable[[int, Command], None]
    ask: Callable[[int], None]


class Lead:
    """Drives the core's `Leader` of a partition, after a `Candidacy`; lives on the leaders' thread."""

    def __init__(self, partition: int, process: Process, store: WriteBehind, *, assigned: bool) -> None:
        self.partition = partition
        self.assigned = assigned
        self.appending = False
        self.ready_at = 0.0
        self._process = process
        self._store = store
        self._candidacy: Candidacy | None = None
        self._leader: Leader | None = None
        self._term: Term | None = None
        self._inputs = Inputs(lambda held: process.hold(partition, held))
        self._appended_at = 0.0
        self._marked_at = 0.0
        self._checkpoint_at = 0.0
        self._left: Callable[[], None] | None = None
        self._over = False
        self._outbox: Outbox | None = None
        self._teller: Teller | None = None

    @property
    def leading(self) -> bool:
        """Whether the partition is led."""
        return self._leader is not None

    @property
    def untold(self) -> int:
        """How many records the history topic has not acknowledged."""
        return 0 if self._teller is None else self._teller.untold

    @property
    def stirred(self) -> bool:
        """Whether `turn` may have something to do that neither comes due nor depends on more than this partition."""
        term = self._term
        has_news = term is None or term.has_news or self._inputs.wait or self._left is not None
        return has_news and not self.appending

    def due(self, now: int) -> float | None:
        """Return in how many seconds `turn` has something to do without input; None for never."""
        if self._leader is None:
            return max(0.0, self.ready_at - monotonic()) if self._candidacy is None else None
        at = self._leader.due()
        return None if at is None else max(0.0, (at - now) / 1_000)

    def arrived(self, takes: list[Take]) -> None:
        """Take records of the commands topic."""
        if self._leader is not None:
            self._inputs.arrived(takes)

    def turn(self, *, intake: bool = True) -> bool:
        """Do what can be done now: campaign, or decide and append. Without ``intake`` no commands are taken; return whether some wait then."""
        if not (self.appending or self._over):
            self._guarded(self._turn, intake)
        return not intake and self._inputs.commands_wait

    def _turn(self, intake: bool) -> None:  # noqa: FBT001 - as `turn` has it
        if self._left is not None:
            self._hand_over(self._left)
        elif self._leader is None:
            if self._candidacy is None and monotonic() >= self.ready_at:
                self._candidacy = Candidacy(self, self._process, self._store)
                self._guarded(self._candidacy.begin)
        else:
            raw = self._decide(self._leader, intake=intake)
            if raw is not None:
                self.append(raw, self._leader)

    def reported(self, about: object, offset: int | None) -> None:
        """Take Kafka's report of an append made for a candidate or a leader, which may be gone by now."""
        candidacy = self._candidacy
        if candidacy is not None and about is candidacy:
            self.appending = False
            self._guarded(candidacy.elected, offset)
        elif about is self._leader and self._leader is not None:
            self.appending = False
            self._guarded(self._committed, offset)

    def step_down(self) -> None:
        """End the term, if there is one, dropping what was not acknowledged."""
        if self._term is not None:
            _log.info("partition %d: stepping down from epoch %d", self.partition, self._term.epoch)
            self._term.end()
            self._process.end_term(self._term)
        if self._leader is not None:
            self._leader.close()
        if self._candidacy is not None:
            self._candidacy.end()
        self.appending = False
        self._candidacy = self._leader = self._term = self._outbox = self._teller = None
        self._inputs.begin_anew()
        self.ready_at = monotonic() + random.uniform(0.05, 0.5)

    def promote(self) -> None:
        """Lead the partition that was only followed so far."""
        self.assigned = True
        if self._candidacy is not None:
            self._guarded(self._candidacy.promote)

    def hand_over(self, left: Callable[[], None]) -> None:
        """Give up the lead on purpose: what is running is lent to this worker, and then ``left`` is called."""
        self._left = left
        if self._term is not None:
            self._process.lend(self._term)

    def misplaced(self) -> None:
        """Take that the next commands to read have been deleted: another leader has taken them, or they are lost."""
        if self._leader is not None:
            _log.warning("partition %d: its commands have been trimmed; a candidate again", self.partition)
            self.step_down()

    def close(self) -> None:
        """Close the store; the lead is of no use afterwards."""
        self._store.close()

    def retry(self) -> None:
        """Send and tell again what failed; call it now and then."""
        if self._outbox is not None and self._teller is not None:
            self._outbox.retry()
            self._teller.retry()

    def guard(self, candidacy: Candidacy, step: Callable[[], None]) -> None:
        """Do a step of a candidacy, unless it is over."""
        if candidacy is self._candidacy:
            self._guarded(step)

    def _guarded(self, step: Callable[..., None], *args: Any) -> None:
        rebuild = False
        try:
            step(*args)
        except DeposedError as error:
            _log.warning("partition %d: deposed, and a candidate again: %s", self.partition, error)
            self.step_down()
        except MismatchError as error:
            _log.warning("partition %d: the store is emptied and rebuilt: %s", self.partition, error)
            self.step_down()
            rebuild = True
        except (LostStateError, TornError) as error:
            if self.assigned or isinstance(error, TornError):
                raise _hopeless(self.partition, self._process.names, error) from error
            # Whoever leads has the state, and will write it.
            _log.warning("partition %d: no copy can be made yet: %s", self.partition, error)
            self.step_down()
        except UnreadableError as error:
            raise UserError(f"the state or the journal of partition {self.partition}: {error}") from error
        if rebuild:
            # Only now that the exception is gone: with what it keeps alive, it may keep the store open.
            self._store.empty()

    def take(self, leader: Leader, records: int) -> None:
        """Begin to lead: what the candidacy came to, which has read so many records since its claim."""
        process = self._process
        self._candidacy, self._leader = None, leader
        term = self._term = Term(self.partition, leader.epoch, process.wake, process.give_back)
        self._outbox = Outbox(process.outgoing, leader.sent, lambda queue, error: term.post(CallsRefused(queue, error)))
        self._teller = Teller(process.outgoing, process.names.history, self.partition, leader.told)
        recovered = leader.recovered()
        for key, message in recovered.sends:
            self._outbox.send(key, message)
        for told in recovered.told:
            self._teller.tell(told)
        _follow_up(process, self.partition, recovered)
        process.take_from(self.partition, leader.commands)
        self._checkpoint(leader)
        _log.info("partition %d: leading in epoch %d, %d records read", self.partition, leader.epoch, records)

    def _decide(self, leader: Leader, *, intake: bool) -> bytes | None:
        term = self._term
        assert term is not None
        intake = intake and self.untold < MANY_UNTOLD
        found = self._inputs.collect(term.reports, intake=intake)
        now = now_ms()
        if found or _is_due(leader, now) or self._to_mark(leader):
            return self._inputs.decide(leader, now, intake=intake)
        return leader.renew(now) if term.wants_lease else None

    def _hand_over(self, left: Callable[[], None]) -> None:
        term = self._term
        if self._leader is not None and term is not None:
            if not term.lent:
                return
            # What the journal does not know to be sent, the next leader sends again.
            if self._inputs.collect(term.reports, intake=False) or self._leader.unmarked:
                raw = self._inputs.decide(self._leader, now_ms(), intake=False)
                if raw is not None:
                    self.append(raw, self._leader)
                return
        self._over = True
        left()

    def _to_mark(self, leader: Leader) -> bool:
        if not leader.unmarked or monotonic() < self._marked_at + _MARK_SECONDS:
            return False
        self._marked_at = monotonic()
        return True

    def append(self, raw: bytes, about: object) -> None:
        """Append to the journal for a candidacy or a leader, which is then told by `reported`."""
        process = self._process

        def delivered(error: Any, message: Any) -> None:
            over()
            process.reported(self, about, None if error is not None else message.offset())

        self._appended_at = monotonic()
        try:
            process.journal.produce(process.names.journal, raw, None, self.partition, on_delivery=delivered)
            self.appending = True
            over = process.deciding.appended()
        except BufferError:
            _log.warning("partition %d: the client's queue is full; a candidate again", self.partition)
            self.step_down()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            raise _oversize(self.partition, process.names, len(raw)) from error

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
        _follow_up(self._process, self.partition, committed)
        self._checkpoint(leader)

    def _checkpoint(self, leader: Leader) -> None:
        if not leader.checkpoint_due or monotonic() < self._checkpoint_at:
            return

        def done(checkpoint: Checkpoint | None) -> None:
            if checkpoint is not None:
                leader.written(checkpoint)
            else:
                self._checkpoint_at = monotonic() + _CHECKPOINT_RETRY_SECONDS
                leader.abandoned()
                if leader is self._leader:
                    self._guarded(view.check)

        view = self._store.view(without=FOLDED_KEY)
        self._process.checkpoints.write(self.partition, leader.snapshot(), view, done)


def _follow_up(process: Process, partition: int, found: Recovered | Committed) -> None:
    """Have done what a partition's logs allow to delete, and what it asks."""
    if found.trim is not None:
        process.checkpoints.trim(partition, found.trim)
    if found.asks:
        process.ask(partition)


def _is_due(leader: Leader, now: int) -> bool:
    due = leader.due()
    return due is not None and due <= now


def _oversize(partition: int, names: Names, size: int) -> UserError:
    return UserError(
        f"partition {partition}: {names.journal} does not take a record of {size:,} bytes, so that no worker can go on with it; "
        "nothing is lost, and this is a bug of stream-engine: report it with what these runs were doing"
    )


def _hopeless(partition: int, names: Names, error: LostStateError | TornError) -> UserError:
    if isinstance(error, TornError):
        return torn(names, error)
    return UserError(
        f"the state of partition {partition} cannot be rebuilt: {error}; restore {names.state} "
        "or the state folder of a worker that led it, or give the app new topics"
    )
