"""Runs that do not begin because their replay is halted (see `stream_engine.core.partition.halted`): those of a paused one are held, those of a cancelled one come to nothing."""

from msgspec.structs import replace

from stream_engine.core.gates.gates import RATE_LIMIT
from stream_engine.core.partition.halted import HALTED
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Cancel, Entry, Free
from stream_engine.core.records.tables import RUNS, Run
from stream_engine.core.stages import timeouts


def why_dismissed(turn: Turn, run_id: str, run: Run | Entry) -> str | None:
    """Return why nothing comes of a run that has not come to its home, or None where nothing is known against it."""
    reason = turn.dismissed.reason(run_id)
    if reason is None and turn.halts.cancels(run):
        return f"replay {run.replay_id} was cancelled"
    return reason


def come_to_nothing(turn: Turn, run_id: str, run: Run) -> None:
    """Have a run be cancelled in the same turn because its replay was."""
    turn.state.put(RUNS.key(run_id), run)
    turn.command(turn.rules.partition, Cancel(run_id, f"replay {run.replay_id} was cancelled"))


def hold(turn: Turn, run_id: str, run: Run, event: Event, *, asked: bool) -> Run:
    """Have a run wait until its replay goes on, and give back what it holds; ``asked`` says that it waits at a gate, or its answer is on its way.

    That a rate limit has let it in stands: it is asked once. An answer that is on its way belongs to an earlier question, which its number tells. How long
    the run may wait for its start is counted anew when the replay goes on.
    """
    kept = next((i for i, gate in enumerate(run.gates[: run.passed]) if gate.kind != RATE_LIMIT), run.passed)
    for gate in run.gates[kept : run.passed + asked]:
        turn.command(gate.partition, Free(run_id, gate))
    turn.waiting.drop(run_id, run, event)
    timeouts.clear(turn, run_id, run)
    held = replace(run, status=HALTED, passed=kept, asks=run.asks + asked, start_by=0, wake_at=0)
    turn.state.put(RUNS.key(run_id), held)
    return held
