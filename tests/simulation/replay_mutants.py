"""Bugs in how events are routed once more, which the simulation must catch; see `tests.simulation.mutants`."""

from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from stream_engine.core.functions import match
from stream_engine.core.gates import event_time, gates
from stream_engine.core.leading import halts
from stream_engine.core.leading.decide import HANDLERS
from stream_engine.core.partition.halted import HALTED, Halts
from stream_engine.core.partition.intake import router_source
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Answer, Ask
from stream_engine.core.records.tables import RUNS, Run
from stream_engine.core.routing import route
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Course, Progress, Rewind
from stream_engine.core.stages import batch, debounce, gathering, run
from stream_engine.shell.pauses import Deciding
from tests.simulation import again
from tests.simulation.bends import hesitates_over_replays, loses_members_and_pauses_replays, stops_replays_at_once
from tests.simulation.leading import Leading
from tests.simulation.mutant import Mutant


def _knows_no_rewind(topic_id: str, partition: int, topics: Any, rewinds: Any) -> Course | None:
    own = topics[topic_id].committed.get(partition)
    return None if own is None else Course(Progress(0, own.offset, own.offset))


def _keeps_no_rewind(self: again.Live, rewind: Rewind) -> None:
    self.rewinds[rewind.id] = replace(rewind, spans={})


def _one_source(topic_id: str, partition: int, replay_id: str | None = None) -> str:
    return router_source(topic_id, partition, None)


def _by_no_ts(event: Event, moment: int) -> int:
    return moment


def _holds_on(turn: Turn, run_id: str, run_: Run, event: Event, *, asked: bool) -> Run:
    held = replace(run_, status=HALTED, asks=run_.asks + asked, start_by=0, wake_at=0)
    turn.waiting.drop(run_id, run_, event)
    turn.state.put(RUNS.key(run_id), held)
    return held


def _is_never_resumed(halts_: Halts, run_: Run) -> bool:
    return run_.status != HALTED and _may_be_meant(halts_, run_)


def _skips_what_is_replayed(turn: Turn, command: Ask) -> None:
    _ask(turn, replace(command, replay_id=None) if command.gate.kind == gates.SINGLETON else command)


def _takes_answers_to_what_was_given_up(turn: Turn, command: Answer) -> None:
    asked = turn.state.get(RUNS, RUNS.key(command.run_id))
    _answered(turn, command if asked is None else replace(command, number=asked.asks))


_answered = run.answered
_may_be_meant = halts._may_be_meant
_ask = gates.ask

REPLAY_MUTANTS = (
    Mutant("a rewind is taken for a crash's repeat", [patch.object(again, "course", _knows_no_rewind)]),
    Mutant("a rewind is found anew by each who looks", [patch.object(again.Live, "open", _keeps_no_rewind)]),
    Mutant(
        "what a replayed run sent runs again as well",
        [patch.object(Extent, "passes_over", lambda self, cause: False)],
        noticed_by=188,
    ),
    Mutant("what a replayed run sends is live", [patch.object(route, "cause_of", lambda headers: None)]),
    Mutant("a replay has the numbers of live", [patch.object(route, "router_source", _one_source)]),
    Mutant(
        "a replay is counted by the rate limit of live runs",
        [patch.object(match, "_KINDS_OF_A_REPLAY", match._KINDS_OF_A_REPLAY - {"rate limit"})],
        noticed_by=99,
    ),
    Mutant(
        "a replay has slots of its own",
        [patch.object(match, "_KINDS_OF_A_REPLAY", match._KINDS_OF_A_REPLAY | {"concurrency"})],
        noticed_by=110,
    ),
    Mutant(
        "a replay gathers by the clock",
        [patch.object(module, "now_of", lambda turn, entry: turn.now) for module in (gathering, batch, debounce)],
        noticed_by=25,
    ),
    Mutant(
        "what is replayed is counted when it comes", [patch.object(event_time, "delayed", _by_no_ts)], noticed_by=25
    ),
    Mutant(
        "a singleton skips what is replayed", [patch.dict(HANDLERS, {Ask: _skips_what_is_replayed})], noticed_by=137
    ),
    Mutant("what is halted begins", [patch.object(run, "_is_kept_back", lambda *_: False)], noticed_by=176),
    Mutant(
        "a halt is gone by before it is",
        [patch.object(Deciding, "goes_by_all", True)],
        bend=stops_replays_at_once,
    ),
    Mutant(
        "who claims does not look what is halted",
        [patch.object(Leading, "look_around", lambda self: None)],
        bend=loses_members_and_pauses_replays,
    ),
    Mutant("what was paused does not go on", [patch.object(halts, "_may_be_meant", _is_never_resumed)], noticed_by=176),
    Mutant("what is paused keeps its places", [patch.object(run, "hold", _holds_on)], noticed_by=829),
    Mutant(
        "a question to a gate that was given up has its answer",
        [patch.dict(HANDLERS, {Answer: _takes_answers_to_what_was_given_up})],
        bend=hesitates_over_replays,
    ),
)
