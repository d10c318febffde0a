"""Bugs of calls and callbacks, put back into the core; see `tests.simulation.mutants`."""

from unittest.mock import patch

from msgspec.structs import replace

from stream_engine.core.leading.decide import FIRED, HANDLERS
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import CompleteCallback, Reply, TimeUp
from stream_engine.core.records.tables import Run, Step, Timer
from stream_engine.core.stages import callbacks, finish, time_up
from tests.simulation.bends import has_slow_lanes, lacks_leaders
from tests.simulation.mutant import Mutant

_complete = callbacks.complete


def _takes_any(run: Run | None, step: Step | None, at: int) -> str:
    ended = run is None or bool(run.cancelled)
    return "run-ended" if ended or (step is not None and step.kind != callbacks.KIND) else ""


def _takes_while_loaded(turn: Turn, command: CompleteCallback) -> None:
    if command.run_id in turn.live:
        _complete(turn, command)


def _wakes_nobody(turn: Turn, command: CompleteCallback) -> None:
    before = list(turn.resumes)
    _complete(turn, command)
    turn.resumes[:] = before


def _whenever(turn: Turn, command: CompleteCallback) -> None:
    _complete(turn, replace(command, at=0))


def _without_letter(turn: Turn, command: CompleteCallback) -> None:
    _complete(turn, replace(command, letter=None))


def _at_once(turn: Turn, timer: Timer, _: int) -> None:
    time_up.time_up(turn, TimeUp(timer.run, timer.step))


def _once_commands_are_taken(turn: Turn, timer: Timer, _: int) -> None:
    turn.later(TimeUp(timer.run, timer.step))


GRAPH_MUTANTS = (
    Mutant(
        "what an ended run has invoked goes on", [patch.object(finish, "give_up_all", lambda turn, run, live: None)]
    ),
    Mutant("an answer to a call is lost", [patch.dict(HANDLERS, {Reply: lambda turn, command: None})]),
    Mutant("two completions count", [patch.object(callbacks, "_refusal", _takes_any)]),
    Mutant("only what is loaded is completed", [patch.dict(HANDLERS, {CompleteCallback: _takes_while_loaded})]),
    Mutant("a completion wakes nobody", [patch.dict(HANDLERS, {CompleteCallback: _wakes_nobody})]),
    Mutant("a callback waits for ever", [patch.dict(FIRED, {callbacks.TIMEOUT: lambda turn, timer, at: None})]),
    Mutant(
        "a completion counts however late", [patch.dict(HANDLERS, {CompleteCallback: _whenever})], bend=lacks_leaders
    ),
    Mutant(
        "a timeout overtakes a completion by an event",
        [patch.dict(FIRED, {callbacks.TIMEOUT: _once_commands_are_taken})],
        bend=has_slow_lanes,
    ),
    Mutant(
        "a refused event has no dead letter",
        [patch.dict(HANDLERS, {CompleteCallback: _without_letter})],
        bend=has_slow_lanes,
    ),
    Mutant("a timeout overtakes a completion", [patch.dict(FIRED, {callbacks.TIMEOUT: _at_once})], bend=lacks_leaders),
)
