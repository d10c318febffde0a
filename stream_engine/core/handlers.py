"""The handlers that functions declare for runs of theirs that failed or were cancelled: each is a function, and gets a run of its own."""

from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.identity import digest, home_partition
from stream_engine.core.records import Event
from stream_engine.core.requests import Entry, Handle
from stream_engine.core.tables import Run
from stream_engine.core.turn import Turn


def failed(turn: Turn, run_id: str, run: Run, event: Event, error: Failure) -> None:
    """Hand a run that failed to the handler of its function, if that has one."""
    function = turn.rules.functions.get(run.function)
    if function is not None and function.on_failure is not None:
        _hand_over(turn, Handle(function.on_failure, "", run_id, event, error, run.replay_id))


def cancelled(turn: Turn, run_id: str, run: Run | Entry, event: Event) -> None:
    """Hand a run that was cancelled, begun or not, to the handler of its function, if that has one."""
    function = turn.rules.functions.get(run.function)
    if function is not None and function.on_cancel is not None:
        _hand_over(turn, Handle(function.on_cancel, "", run_id, event, None, run.replay_id))


def _hand_over(turn: Turn, handle: Handle) -> None:
    name = digest(handle.of_run, handle.function)
    turn.command(home_partition(name, turn.rules.partitions), replace(handle, run_name=name))
