"""The leader of one partition, without its I/O: decisions, and what may be done once they are acknowledged.

The seam, in the order in which a shell calls it; what is in capitals the shell must do before the next call:

1. ``recovered()``, once, returns a `Recovered`: SEND its messages before any other, and TELL its history.
2. ``decide(inputs, now)``, when there are inputs or it is ``due``, takes inputs off the front of the list, and returns the
   record to APPEND, or None if it found nothing to decide; then look at ``due`` again. One append at a time.
3. ``acknowledged(offset)``, with the offset that Kafka reported or None for anything else, returns a `Committed`: WRITE its
   change to the store, whole. Then, in any order, SEND its messages, TELL its history, hand its effects to the execution. Where
   it, or the `Recovered`, ``asks``, FIND OUT as `stream_engine.core.routing.rewind.routed_to` says, and send a `CaughtUp` to the partition.
4. ``sent(key)`` when a message's destination has acknowledged it, and every earlier one of its queue; ``told(mark)`` when
   the history topic has acknowledged everything up to a mark. Both are journaled with the next record.
5. ``snapshot()`` when ``checkpoint_due``: see `stream_engine.core.partition.snapshot`. A `Committed` or `Recovered` that has a ``trim``
   allows the shell to DELETE records of the topics up to there, at any time later.

`DeposedError` may come from 3: nothing that was not committed took effect, or will. Drop the leader and the executions of its
term. ``docs/model`` shows what happens when an effect comes before its acknowledgement, or a gap goes unnoticed.

However a term ends, call ``close()``, so that the runs of other partitions have the room that its runs had.
"""

import zlib

from msgspec.structs import replace

from stream_engine.core.gates.gates import revisit
from stream_engine.core.leading.crons import schedule
from stream_engine.core.leading.decide import EXPIRE, decide, fire, follow_up
from stream_engine.core.leading.halts import Following
from stream_engine.core.partition.change import Change, Committed, DeposedError, Take, Told, Trim, trim_to
from stream_engine.core.partition.dismissed import Dismissed
from stream_engine.core.partition.halted import HALTED
from stream_engine.core.partition.intake import Receipt, arrived
from stream_engine.core.partition.places import Places
from stream_engine.core.partition.reached import Reached
from stream_engine.core.partition.snapshot import Snapshot
from stream_engine.core.partition.state import State, Store
from stream_engine.core.partition.sweep import Sweep
from stream_engine.core.partition.timers import Timers
from stream_engine.core.partition.turn import Live, Rules, Turn
from stream_engine.core.partition.waiting import Waiting
from stream_engine.core.records.journal import Checkpoint, Decided, Mark, Record, encode
from stream_engine.core.records.requests import Commands
from stream_engine.core.records.tables import FOLDED_KEY, GATES, INTAKE, OUTBOX, RUNS, Folded, Outgoing, Timer
from stream_engine.core.records.wait_tables import OVERDUE
from stream_engine.core.stages.commands import Input, Resume
from stream_engine.core.stages.run import let_in

AT_ONCE = 100
"""How many timers, and how many runs of a takeover, one record deals with at most."""

_UNFINISHED = frozenset({"running", "parked", HALTED})

LET_IN = 50
"""How many runs that waited for room one record lets in at most, so that it is noticed in time when they are enough."""


class Recovered(Record, frozen=True):
    """What an earlier term left to do: messages without acknowledgement, in order, tellings of the journal's tail, a trim, a question."""

    sends: list[tuple[bytes, Outgoing]]
    told: list[Told]
    trim: Trim | None
    asks: bool = False


class Leader:
    """One term of leading one partition; see the module for the order of calls."""

    def __init__(self, folded: Folded, store: Store, rules: Rules, untold: list[Told]) -> None:
        self.epoch = folded.mark.epoch
        self._folded = folded
        self._rules = rules
        self._state = State(store)
        self._timers = Timers(self._state)
        self._waiting = Waiting(self._state)
        self._dismissed = Dismissed(self._state)
        self._places = Places(self._state)
        self._reached = Reached()
        self._live: dict[str, Live] = {}
        self._untold = untold
        self._told = folded.told
        self._telling = untold[-1].mark.offset if untold else -1
        self._sent: list[bytes] = []
        self._pending: tuple[Folded, Turn, Change] | None = None
        self._serial = 0
        self._writing = False
        self._to_name: Checkpoint | None = None
        self._unfinished = Sweep(self._state, RUNS, lambda run: run.status in _UNFINISHED)
        self._gates = Sweep(self._state, GATES, lambda gate: gate.waiting > 0)
        self._halts = Following(self._state, rules.halted)
        self._is_new = any(function.crons for function in rules.functions.values())

    @property
    def commands(self) -> int:
        """The offset of the next record to take from the commands topic."""
        return self._folded.commands

    @property
    def running(self) -> int:
        """How many runs are being executed."""
        return len(self._live)

    @property
    def busy(self) -> bool:
        """Whether an append is under way; until its acknowledgement nothing can be decided."""
        return self._pending is not None

    def due(self) -> int | None:
        """When `decide` has something to do without inputs: milliseconds since the epoch (0 for now), or None for never."""
        swept = self._unfinished.found_all and self._gates.found_all
        at_once = self._is_new or not swept or self._halts.due or self._waiting.ready(self._rules.room)
        return 0 if at_once else self._timers.next_due()

    @property
    def unmarked(self) -> bool:
        """Whether something was sent or told that the journal does not know yet; worth a record when the partition idles.

        A record that only marks tells nothing itself, so an idle partition falls silent.
        """
        return bool(self._sent or self._to_name) or self._folded.told.offset < self._telling <= self._told.offset

    @property
    def checkpoint_due(self) -> bool:
        """Whether the journal behind the last checkpoint has grown as large as that, or that is in no topic any more, so that `snapshot` should be called."""
        folded = self._folded
        if self._writing or self._to_name:
            return False
        if folded.checkpoint is not None and folded.checkpoint.topic != self._rules.state_id:
            return True
        size, written = (0, 0) if folded.checkpoint is None else (folded.checkpoint.size, folded.checkpoint.written)
        tail = folded.written - written
        return tail >= max(size, self._rules.checkpoint_bytes)

    def snapshot(self) -> Snapshot:
        """Return a snapshot of what the store holds now: everything acknowledged is written to it, and nothing else."""
        self._writing = True
        self._serial += 1
        return Snapshot(self.epoch, self._serial, self._folded)

    def written(self, checkpoint: Checkpoint) -> None:
        """Note that a snapshot is complete: the state topic has acknowledged all of it."""
        self._writing = False
        self._to_name = replace(checkpoint, topic=self._rules.state_id)

    def abandoned(self) -> None:
        """Note that a snapshot was not written; another one is due at once."""
        self._writing = False

    def recovered(self) -> Recovered:
        """Return what an earlier term left to send and to tell."""
        sends = list(self._state.scan(OUTBOX, OUTBOX.prefix, OUTBOX.stop))
        untold, self._untold = self._untold, []
        asks = next(self._state.scan(OVERDUE, OVERDUE.prefix, OVERDUE.stop), None) is not None
        return Recovered(sends, untold, trim_to(self._folded.checkpoint), asks)

    def sent(self, key: bytes) -> None:
        """Note that the destination of a message has acknowledged it."""
        self._sent.append(key)

    def told(self, mark: Mark) -> None:
        """Note that the history topic has acknowledged everything up to a mark."""
        self._told = mark

    def decide(self, inputs: list[Take | Input], now: int) -> bytes | None:
        """Decide upon inputs in their order; return the journal record to append, or None if nothing is to be said.

        What is decided upon is removed from ``inputs``; what stays, because the record is full, is for the next call.

        Records of the commands topic count in their order without gaps: one that was taken is passed over, and one that is
        ahead too, because it belongs to a reading that began elsewhere; the one that `commands` asks for will bring it again.

        ``now`` is the clock's, in milliseconds since the epoch; journal time never goes back behind an earlier record.
        """
        turn = self._turn(now)
        due = self._timers.take_due(turn.now, AT_ONCE)
        left = [run_id for run_id in self._unfinished.take(AT_ONCE) if run_id not in self._live]
        gates = self._gates.take(AT_ONCE)
        ready = self._waiting.ready(self._rules.room)
        halted = self._halts.look(turn, AT_ONCE)
        if not (inputs or due or left or gates or self.unmarked or ready or self._is_new or halted):
            return None
        if self._is_new:
            self._is_new = False
            schedule(turn)
        self._forget_sent()
        self._fire(turn, due)
        for run_id in left:
            decide(turn, Resume(run_id))
        for gate_id in gates:
            revisit(turn, gate_id)
        let_in(turn, LET_IN)
        follow_up(turn)
        commands = self._folded.commands
        taken = 0
        for command in inputs:
            if turn.is_full:
                break
            if not isinstance(command, Take):
                decide(turn, command)
            elif command.offset == commands:
                if command.commands is not None and not self._take(turn, command.commands):
                    break
                commands += 1
            taken += 1
        del inputs[:taken]
        return self._seal(turn, commands)

    def renew(self, now: int) -> bytes:
        """Return a record that decides nothing; its acknowledgement proves that the partition is still led."""
        self._forget_sent()
        return self._seal(self._turn(now), self._folded.commands)

    def acknowledged(self, offset: int | None) -> Committed:
        """Take what Kafka reported of the append under way; return what takes effect.

        Raises:
            DeposedError: it was not acknowledged, or not at the offset behind this leader's last record.
        """
        expected = self._folded.mark.offset + 1
        if self._pending is None or offset != expected:
            raise DeposedError(f"the append was reported at offset {offset}, not at {expected}")
        before = self._folded.checkpoint
        self._folded, turn, change = self._pending
        self._pending = None
        if turn.history:
            self._telling = self._folded.mark.offset
        sends = [(key, message) for key in turn.sends if (message := self._state.get(OUTBOX, key)) is not None]
        self._state.settle()
        for function in turn.left:
            self._rules.room.give(function)
        named = None if self._folded.checkpoint is before else self._folded.checkpoint
        told = Told(self._folded.mark, turn.history)
        return Committed(change, sends, told, turn.effects, trim_to(named), turn.asks)

    def close(self) -> None:
        """End the term: what its runs took of the room is given back."""
        left = [] if self._pending is None else self._pending[1].left
        for function in (*left, *(live.run.function for live in self._live.values())):
            self._rules.room.give(function)
        self._pending = None
        self._live.clear()

    def _turn(self, now: int) -> Turn:
        now = max(now, self._folded.now)
        waits = (self._timers, self._waiting, self._dismissed, self._places)
        return Turn(
            self._state, *waits, self._live, self._rules, now, format=self._folded.format, reached=self._reached
        )

    def _forget_sent(self) -> None:
        """Delete what has arrived, before anything is decided: nobody may take back what its receiver has."""
        for key in self._sent:
            self._state.delete(key)
        self._sent = []

    def _fire(self, turn: Turn, due: list[bytes]) -> None:
        for number, key in enumerate(due):
            if turn.is_full:
                self._timers.put_back(due[number:])
                return
            fire(turn, key)

    def _take(self, turn: Turn, commands: Commands) -> bool:
        """Decide upon what has not been taken yet; return whether that is all, or else a next record is to go on with the same commands."""
        turn.format = max(turn.format, commands.format)
        if not commands.source:
            for _, command in commands.items:
                decide(turn, command)
            return True
        receipt = Receipt(self._state.get(INTAKE, INTAKE.key(commands.source)), commands)
        left = iter(commands.items)
        for number, command in left:
            if receipt.take(number):
                decide(turn, command)
                if turn.is_full:
                    break
        arrived(turn, commands.source, receipt)
        return next(left, None) is None

    def _seal(self, turn: Turn, commands: int) -> bytes:
        mark = self._folded.mark
        mark = Mark(mark.offset + 1, mark.epoch, mark.n + 1)
        for kind, due in (("forget", turn.forget), (EXPIRE, turn.expire)):
            if due:
                latest = max(at for at, _ in due)
                turn.set_timer(latest, Timer(kind, str(mark.offset), keys=tuple(key for _, key in due)))
        turn.pack()
        puts, deletes = self._state.changes()
        named, self._to_name = self._to_name, None
        raw = encode(
            Decided(mark.epoch, mark.n, commands, turn.now, self._told, puts, deletes, turn.history, named, turn.format)
        )
        folded = replace(
            self._folded,
            mark=mark,
            commands=commands,
            now=turn.now,
            told=self._told,
            written=self._folded.written + len(raw),
            checkpoint=named or self._folded.checkpoint,
            crc=zlib.crc32(raw),
            format=turn.format,
        )
        self._pending = (folded, turn, Change([*puts, (FOLDED_KEY, encode(folded))], deletes))
        return raw
