"""What follows in a partition when other replays are halted than before: its runs, entries and buffers are looked through, a few at a time."""

from collections.abc import Callable

from stream_engine.core.gates.gates import RATE_LIMIT
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.halted import HALTED, Halted, Halts
from stream_engine.core.partition.payload import event_of
from stream_engine.core.partition.state import State
from stream_engine.core.partition.sweep import Sweep
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Entry, Seek
from stream_engine.core.records.tables import BUFFERS, ENTRIES, RUNS, Buffer, Run
from stream_engine.core.stages.entering import empty, take_out
from stream_engine.core.stages.halting import why_dismissed
from stream_engine.core.stages.run import begin, hold_back

_NOTHING = Halts()

Look = Callable[[Turn, str], None]


class Following:
    """Goes by the replays that are halted, in one term; what an earlier term has left to do is done again, which changes nothing."""

    def __init__(self, state: State, halted: Halted) -> None:
        self._state = state
        self._halted = halted
        self._gone_by = _NOTHING
        self._sweeps: list[tuple[Sweep[Run] | Sweep[Entry] | Sweep[Buffer], Look]] = []

    @property
    def due(self) -> bool:
        """Whether there is something to look at."""
        return bool(self._sweeps) or self._halted.now != self._gone_by

    def look(self, turn: Turn, most: int) -> bool:
        """Look at up to ``most`` entries of each table; return whether anything follows, which mostly is not so."""
        found = 0
        if turn.halts != self._gone_by:
            halts = self._gone_by = turn.halts
            self._sweeps = [
                (Sweep(self._state, RUNS, lambda run: _may_be_meant(halts, run)), _look_at),
                (Sweep(self._state, ENTRIES, halts.cancels), _take_out),
                (Sweep(self._state, BUFFERS, lambda buffer: halts.cancels(buffer.entry)), _give_up),
            ]
        for sweep, look in self._sweeps:
            names = sweep.take(most)
            found += len(names)
            for name in names:
                look(turn, name)
        self._sweeps = [one for one in self._sweeps if not one[0].found_all]
        return found > 0


def _may_be_meant(halts: Halts, run: Run) -> bool:
    verdict = halts.verdict(run)
    return run.status == HALTED or verdict == "cancel" or (verdict == "hold" and run.status == "queued")


def _take_out(turn: Turn, run_id: str) -> None:
    entry = turn.state.get(ENTRIES, ENTRIES.key(run_id))
    reason = None if entry is None else why_dismissed(turn, run_id, entry)
    if reason is not None:
        take_out(turn, run_id, reason)


def _give_up(turn: Turn, gate_id: str) -> None:
    """Have what has been gathered come to nothing at the home of its run, which need not have heard of the cancel."""
    buffer = turn.state.get(BUFFERS, BUFFERS.key(gate_id))
    if buffer is None:
        return
    run_id = buffer.entry.run_id
    reason = why_dismissed(turn, run_id, buffer.entry)
    if reason is not None:
        turn.command(partition_of(run_id), Seek(run_id, reason))
        empty(turn, gate_id)


def _look_at(turn: Turn, run_id: str) -> None:
    """Have a run go on whose replay does, come to nothing, or stand at no gate any more.

    What waits at a rate limit stays there: it takes nothing that anybody else could have, and is held when it has its answer.
    """
    run = turn.state.get(RUNS, RUNS.key(run_id))
    event = None if run is None else event_of(turn, run_id, run)
    if run is None or event is None or run_id in turn.live:
        return
    verdict = turn.halts.verdict(run)
    if run.status == HALTED or verdict == "cancel":
        begin(turn, run_id, run, event)
    elif verdict == "hold" and run.status == "queued":
        asked = run.passed < len(run.gates)
        if not (asked and run.gates[run.passed].kind == RATE_LIMIT):
            hold_back(turn, run_id, run, event, asked=asked)
