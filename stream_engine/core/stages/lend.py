"""Stages *run* and *step*, when the lead is given up on purpose: what is running stays with the worker that began it.

A body that takes ten minutes is not to be begun again because its worker makes room for a newer one. With its last decision
the leader *lends* what is running to its own worker, for as long as that may take to end. The next leader executes the run,
takes a lent step for one whose timer is running, and waits. The worker *returns* what came of it as a command to the partition;
what is not returned in time is begun again, as after a crash, and a return that comes still later is refused.
"""

from msgspec.structs import replace

from stream_engine.core.partition.turn import Live, Turn
from stream_engine.core.records.requests import Cancel, ReturnRun, ReturnStep
from stream_engine.core.records.tables import RUNS, STEPS, Step, Timer
from stream_engine.core.stages.commands import FailRun, FailStep, FinishRun, LendRun, LendStep, RecordStep, RetryRun
from stream_engine.core.stages.finish import fail_run, finish_run
from stream_engine.core.stages.run import retry_run
from stream_engine.core.stages.step import fail_step, record_step, wake_step
from stream_engine.core.stages.unloaded import load_unloaded, with_loaded


def lend_step(turn: Turn, command: LendStep) -> None:
    """A step's body goes on in this worker after its term."""
    live = turn.live.get(command.run_id)
    if live is None or command.step_id in live.recorded:
        return
    until = turn.now + command.lease
    step = Step("run", "lent", len(live.recorded), command.attempt, command.started_at, turn.now, until)
    live.kept.add(command.step_id)
    live.pending.add(command.step_id)
    turn.state.put(STEPS.key(command.run_id, command.step_id), step)
    turn.set_timer(until, Timer("wake", command.run_id, command.step_id))


def lend_run(turn: Turn, command: LendRun) -> None:
    """A run's code goes on in this worker after its term."""
    live = turn.unload(command.run_id)
    if live is None:
        return
    until = turn.now + command.lease
    turn.state.put(RUNS.key(command.run_id), replace(live.run, status="lent", wake_at=until))
    turn.set_timer(until, Timer("retry", command.run_id))


def return_step(turn: Turn, command: ReturnStep) -> None:
    """A lent step has ended, if it is still lent: record what came of it, whether its run is being executed or not."""
    run_id, step_id = command.run_id, command.step_id
    step = turn.state.get(STEPS, STEPS.key(run_id, step_id))
    if step is None or (step.status, step.attempt) != ("lent", command.attempt):
        return
    run = turn.live[run_id].run if run_id in turn.live else turn.state.get(RUNS, RUNS.key(run_id))
    if run is not None and run.cancelled:
        # What came of it is not used; the run may have waited for that alone.
        turn.state.put(STEPS.key(run_id, step_id), replace(step, wake_at=turn.now))
        turn.command(turn.rules.partition, Cancel(run_id, run.cancelled))
        return
    if command.result is None and command.error is None:
        turn.state.put(STEPS.key(run_id, step_id), replace(step, wake_at=turn.now))
        wake_step(turn, run_id, step_id)
        return
    about = run_id, step_id, command.attempt, command.started_at

    def record(_: Live) -> None:
        if command.error is not None:
            fail_step(turn, FailStep(*about, command.error, command.retry_in))
        else:
            assert command.result is not None
            record_step(turn, RecordStep(*about, command.result))

    with_loaded(turn, run_id, record)


def return_run(turn: Turn, command: ReturnRun) -> None:
    """The code of a lent run has ended, if it is still lent: what follows is the same as if it had ended here."""
    run_id = command.run_id
    run = turn.state.get(RUNS, RUNS.key(run_id))
    if run is None or (run.status, run.attempt) != ("lent", command.attempt) or not load_unloaded(turn, run_id):
        return
    if command.result is not None:
        finish_run(turn, FinishRun(run_id, command.result))
    elif command.error is None:
        turn.unload_at_once(run_id)
        turn.state.put(RUNS.key(run_id), replace(run, status="running", wake_at=0))
        turn.resumes.append(run_id)
    elif command.retry_in is None:
        fail_run(turn, FailRun(run_id, command.error))
    else:
        retry_run(turn, RetryRun(run_id, command.retry_in, command.error))
