"""Tests of the tests: bugs put back into the core, or into the shell's order of calls, which the simulation must catch.

Each mutant says what is broken and where; none of them is a switch in the code that ships.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from stream_engine.core.gates import gates
from stream_engine.core.leading import candidate, leader
from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.decide import HANDLERS, decide
from stream_engine.core.leading.leader import Leader, Recovered
from stream_engine.core.partition import fence
from stream_engine.core.partition.change import Change, Committed, DeposedError, Told, Trim, trim_to
from stream_engine.core.partition.intake import Receipt
from stream_engine.core.partition.room import Room
from stream_engine.core.partition.snapshot import Restore, Snapshot, SpoiledError
from stream_engine.core.partition.state import State
from stream_engine.core.partition.turn import Turn
from stream_engine.core.partition.waiting import Waiting
from stream_engine.core.records.chunks import Complete
from stream_engine.core.records.decoding import decode_state
from stream_engine.core.records.journal import Checkpoint, Decided, JournalRecord, LeaderElected, Mark
from stream_engine.core.records.requests import Answer, Began, Collect, Commands, ReturnStep
from stream_engine.core.records.tables import FOLDED_KEY, OUTBOX, Intake
from stream_engine.core.routing.route import Router
from stream_engine.core.stages import finish, run
from stream_engine.core.stages.commands import Input, RecordStep, Suspend
from stream_engine.core.stages.step import record_step
from tests.simulation.keeping import Keeper
from tests.simulation.leading import Commit, Desk, Leading
from tests.simulation.mutant import Mutant
from tests.simulation.schedule import Body
from tests.simulation.store import SimStore
from tests.simulation.term import Term
from tests.simulation.worker import Parts


class ActsBeforeAcknowledgement(Leading):
    """Sends, tells and executes before the record is appended."""

    def commit(self, leader: Leader, raw: bytes, desk: Desk) -> Commit:
        """Let the record take effect, and append it then."""
        assert leader._pending is not None
        folded, turn, change = leader._pending
        puts = dict(change.puts)
        sends = [(key, OUTBOX.decode(puts[key])) for key in turn.sends if key in puts]
        early = Committed(change, sends, Told(folded.mark, turn.history), turn.effects)
        yield from self.act(early, desk)
        leader.acknowledged((yield from self.append(raw, "record")))
        return Committed(change, [], Told(folded.mark, []), [])


class WritesWhatWasNotAcknowledged(Leading):
    """Writes its change to the store although it was deposed: a stale write."""

    def commit(self, leader: Leader, raw: bytes, desk: Desk) -> Commit:
        """Write the change of a refused record."""
        assert leader._pending is not None
        change = leader._pending[2]
        try:
            return (yield from super().commit(leader, raw, desk))
        except DeposedError:
            self.write(change)
            raise


class WritesBehindItsSuccessor(Leading):
    """Writes the newest change of a term once more when the next one has begun."""

    _newest: Change | None = None

    def take_up(self, leader: Leader, term: Term, desk: Desk) -> Body:
        """Write what the last term wrote last."""
        if self._newest is not None:
            self.write(self._newest)
        return super().take_up(leader, term, desk)

    def act(self, committed: Committed, desk: Desk) -> Body:
        """Remember what was written."""
        self._newest = committed.change
        return super().act(committed, desk)


class ListensToOlderTerms(Leading):
    """Takes what the executions of an earlier term report."""

    _inbox: deque[Input]

    def take_up(self, leader: Leader, term: Term, desk: Desk) -> Body:
        """Put one inbox in front of all terms, and let none of them end."""
        if not hasattr(self, "_inbox"):
            self._inbox = term.inbox
        term.inbox = self._inbox
        term.end = lambda: None  # type: ignore[method-assign] # this is the bug
        return super().take_up(leader, term, desk)


class TrimsUnnamed(Keeper):
    """Trims as soon as a snapshot is written, without waiting for a record that names it and counts."""

    def written(self, leader: Leader, checkpoint: Checkpoint) -> None:
        """Trim at once."""
        super().written(leader, checkpoint)
        trim = trim_to(checkpoint)
        assert trim is not None
        self.trim(trim)


class ViewsTooLate(Keeper):
    """Says of which place the state is, and takes its view of the state some time later."""

    def view(self, store: SimStore) -> Iterator[tuple[bytes, bytes]]:
        """Look at the store when an entry is asked for."""
        for key in sorted(store.data):
            if key != FOLDED_KEY and key in store.data:
                yield key, store.data[key]


class PlaceFirst(SimStore):
    """Stores the place, and then what belongs to it."""

    def write(self, change: Change) -> None:
        """Write in two halves, between which a crash may fall."""
        super().write(Change([(k, v) for k, v in change.puts if k == FOLDED_KEY], []))
        super().write(Change([(k, v) for k, v in change.puts if k != FOLDED_KEY], change.deletes))


class PlaceWithoutState(SimStore):
    """Loses the state of some writes, and keeps their place."""

    _writes = 0

    def write(self, change: Change) -> None:
        """Write only the place, every seventh time."""
        self._writes += 1
        lost = self._writes % 7 == 0
        super().write(Change([(k, v) for k, v in change.puts if k == FOLDED_KEY], []) if lost else change)


class HastyRouter(Router):
    """Counts as arrived what is still on its way, and so commits it."""

    def route(self, received: Any, end: int, match: Any) -> Any:
        """Route, and raise the floor at once."""
        routed = super().route(received, end, match)
        self._floor = end
        return routed


class ForgetfulRouter(Router):
    """Tells receivers that everything up to what it routes now has arrived."""

    def _record(self, items: Any) -> bytes:
        self._floor, floor = items[-1][0], self._floor
        raw = super()._record(items)
        self._floor = floor
        return raw


def _without_epoch(mark: Mark, record: Decided) -> bool:
    return record.n == mark.n + 1


def _without_n(mark: Mark, record: Decided) -> bool:
    return record.epoch == mark.epoch


def _without_gaps(self: Leader, offset: int | None) -> Committed:
    assert self._pending is not None
    folded, turn, change = self._pending
    at = self._folded.mark.offset + 1 if offset is None else offset
    self._folded = replace(self._folded, mark=replace(self._folded.mark, offset=at - 1))
    self._pending = (replace(folded, mark=replace(folded.mark, offset=at)), turn, change)
    return _acknowledged(self, at)


_acknowledged = Leader.acknowledged
_recovered = Leader.recovered
_replay = Candidate.replay
_take_commands = Leader._take
_lead = Candidate.lead


def _nothing_to_send(self: Leader) -> Recovered:
    found = _recovered(self)
    return Recovered([], found.told, found.trim)


def _nothing_to_tell(self: Leader) -> Recovered:
    found = _recovered(self)
    return Recovered(found.sends, [], found.trim)


def _takes_all(self: Receipt, number: int) -> bool:
    self._seen.add(number)
    if self._dense:
        self._floor = max(self._floor, number + 1)
    return True


def _takes_above(self: Receipt, number: int) -> bool:
    if number < self._floor or number in self._seen:
        return False
    if self._dense:
        self._floor = number + 1
    else:
        self._seen.add(number)
    return True


def _forgets_seen(self: Receipt) -> Intake:
    return Intake(self._floor)


def _takes_none_below(self: Receipt, number: int) -> bool:
    if self._dense:
        return _take(self, number)
    fresh = number >= self._floor
    self._floor = max(self._floor, number + 1)
    return fresh


_take = Receipt.take


def _replays_everything(mark: Mark, offset: int, record: JournalRecord) -> Mark | None:
    if isinstance(record, LeaderElected):
        return Mark(offset, offset, 0)
    return Mark(offset, mark.epoch, mark.n + 1) if fence.counts(mark, record) else None


def _skips_first(self: Candidate, rules: Any) -> Leader:
    led = _lead(self, rules)
    led._folded = replace(led._folded, commands=led._folded.commands + 1)
    return led


def _resumes_nothing(self: Candidate, rules: Any) -> Leader:
    led = _lead(self, rules)
    led._unfinished.found_all = led._gates.found_all = True
    return led


def _takes_unasked(self: Leader, turn: Any, commands: Commands) -> None:
    for _, command in commands.items:
        decide(turn, command)


def _forgets_steps(turn: Any, run_id: str) -> dict[str, Any]:
    return {}


def _clock(self: Leader, now: int) -> Any:
    return Turn(self._state, self._timers, self._waiting, self._dismissed, self._places, self._live, self._rules, now)


def _sent_at_once(self: Leader, offset: int | None) -> Committed:
    committed = _acknowledged(self, offset)
    for key, _ in committed.sends:
        self.sent(key)
    return committed


def _told_at_once(self: Leader, offset: int | None) -> Committed:
    committed = _acknowledged(self, offset)
    if committed.told.records:
        self.told(committed.told.mark)
    return committed


def _suspends_anyway(turn: Any, command: Any) -> None:
    live = turn.live.get(command.run_id)
    _suspend(turn, command if live is None else replace(command, signals=live.signals))


def _takes_any_return(turn: Any, command: ReturnStep) -> None:
    if command.result is not None:
        record_step(turn, RecordStep(command.run_id, command.step_id, 0, command.started_at, command.result))


def _ends_early(self: Restore, raw: bytes) -> Change | None:
    try:
        record = decode_state(raw)
        if isinstance(record, Complete) and record.id.topic_id == self._topic_id:
            self._loading, self._next = record.id, record.chunks
        return _take_state(self, raw)
    except SpoiledError:
        return None


def _trims_untold(checkpoint: Checkpoint | None) -> Trim | None:
    return None if checkpoint is None else Trim(checkpoint.mark.offset, checkpoint.commands, checkpoint.first)


def _trims_untaken(self: Leader, offset: int | None) -> Committed:
    committed = _acknowledged(self, offset)
    if committed.trim is None:
        return committed
    return replace(committed, trim=replace(committed.trim, commands=self._folded.commands + 1))


def _forgets_epoch(self: Snapshot, *arguments: Any) -> Iterator[bytes]:
    self._folded = replace(self._folded, mark=replace(self._folded.mark, epoch=-1, n=0))
    return _records(self, *arguments)


_take_state = Restore.take
_records = Snapshot.records


def _knows_nobody(self: Waiting, state: Any, window: int = 1) -> None:
    _wait_for_room(self, State(SimStore()), window)
    self._state = state


_wait_for_room = Waiting.__init__

_suspend: Callable[[Any, Any], None] = run.suspend

MUTANTS = (
    Mutant("effects before the acknowledgement", parts=Parts(leading=ActsBeforeAcknowledgement)),
    Mutant("a gap goes unnoticed", [patch.object(Leader, "acknowledged", _without_gaps)]),
    Mutant("no epoch", [patch.object(fence, "counts", _without_epoch)]),
    Mutant("no n", [patch.object(fence, "counts", _without_n)]),
    Mutant("records are folded again", [patch.object(candidate, "advance", _replays_everything)]),
    Mutant("place stored before the state", parts=Parts(store=PlaceFirst)),
    Mutant("place stored without the state", parts=Parts(store=PlaceWithoutState)),
    Mutant("a stale write of what was refused", parts=Parts(leading=WritesWhatWasNotAcknowledged)),
    Mutant("a stale write of an older term", parts=Parts(leading=WritesBehindItsSuccessor)),
    Mutant("an older term's results are taken", parts=Parts(leading=ListensToOlderTerms)),
    Mutant("a takeover skips a command", [patch.object(Candidate, "lead", _skips_first)]),
    Mutant("a command above mark + 1 is taken", [patch.object(Receipt, "take", _takes_above)], noticed_by=66),
    Mutant("the router commits what is on its way", parts=Parts(router=HastyRouter)),
    Mutant("the router's floor is too high", parts=Parts(router=ForgetfulRouter)),
    Mutant("repeats are taken", [patch.object(Receipt, "take", _takes_all)]),
    Mutant("what was seen is forgotten", [patch.object(Receipt, "known", _forgets_seen)]),
    Mutant("what was not seen is taken for seen", [patch.object(Receipt, "take", _takes_none_below)]),
    Mutant("no intake at all", [patch.object(Leader, "_take", _takes_unasked)]),
    Mutant("the outbox is not sent again", [patch.object(Leader, "recovered", _nothing_to_send)]),
    Mutant("history is not told again", [patch.object(Leader, "recovered", _nothing_to_tell)]),
    Mutant("sent before it is acknowledged", [patch.object(Leader, "acknowledged", _sent_at_once)], noticed_by=14),
    Mutant("told before it is acknowledged", [patch.object(Leader, "acknowledged", _told_at_once)]),
    Mutant("runs are not resumed", [patch.object(Candidate, "lead", _resumes_nothing)]),
    Mutant("a resumed run has no steps", [patch.object(run, "recorded_steps", _forgets_steps)]),
    Mutant("journal time follows the clock", [patch.object(Leader, "_turn", _clock)]),
    Mutant(
        "a return is taken that is not waited for",
        [patch.dict(HANDLERS, {ReturnStep: _takes_any_return})],
        noticed_by=23,
    ),
    Mutant("trimmed before it is named", parts=Parts(keeper=TrimsUnnamed), noticed_by=155),
    Mutant("a view of the state from later", parts=Parts(keeper=ViewsTooLate)),
    Mutant("a snapshot is taken without its chunks", [patch.object(Restore, "take", _ends_early)]),
    Mutant("a snapshot without its epoch", [patch.object(Snapshot, "records", _forgets_epoch)]),
    Mutant("history is trimmed before it is told", [patch.object(leader, "trim_to", _trims_untold)]),
    Mutant("commands are trimmed that nobody took", [patch.object(Leader, "acknowledged", _trims_untaken)]),
    Mutant("a store is folded over a hole", [patch.object(Candidate, "must_restore", lambda *_: False)]),
    Mutant("a run is suspended that has work", [patch.dict(HANDLERS, {Suspend: _suspends_anyway})]),
    Mutant("there is always room", [patch.object(Room, "has", lambda self, function: True)]),
    Mutant("room is not given back", [patch.object(Room, "give", lambda self, function: None)]),
    Mutant("a term keeps its room when it ends", [patch.object(Leader, "close", lambda self: None)]),
    Mutant("whoever waits for room waits for ever", [patch.object(leader, "let_in", lambda turn, most: None)]),
    Mutant("a takeover forgets who waits for room", [patch.object(Waiting, "__init__", _knows_nobody)]),
    Mutant("a limit is none", [patch.object(gates, "_has_room", lambda keeper: True)]),
    Mutant("who ends frees nothing", [patch.object(finish, "free_all", lambda turn, run_id, run: None)]),
    Mutant("an answer says nothing", [patch.dict(HANDLERS, {Answer: lambda turn, command: None})]),
    Mutant("a batch loses its events", [patch.dict(HANDLERS, {Collect: lambda turn, command: None})]),
    Mutant("who begins is not counted", [patch.dict(HANDLERS, {Began: lambda turn, command: None})]),
)
