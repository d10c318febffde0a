"""Stage *admit*: an event that arrived at its home partition becomes a run of each function that it matches."""

from stream_engine.core.identity import run_id, run_name
from stream_engine.core.records import Admit, Event
from stream_engine.core.run import begin, disposed
from stream_engine.core.tables import ENDED, EVENTS, RUNS, Run, Timer
from stream_engine.core.turn import Turn


def admit(turn: Turn, command: Admit) -> None:
    """Give the event its disposition for each function."""
    for function in command.functions:
        _admit_to(turn, function, command.event, command.replay_id)


def _admit_to(turn: Turn, function: str, event: Event, replay_id: str | None) -> None:
    rules = turn.rules
    name = run_name(rules.app, function, event.identity, replay_id)
    run = run_id(name, rules.partition)
    key = RUNS.key(run)
    root = name if replay_id is None else run_name(rules.app, function, event.identity, None)
    header = Run(function, "", "delayed", root, turn.now, replay_id=replay_id)
    if event.identity.startswith("id:") and _is_known(turn, run, key):
        turn.history.append(disposed(turn, run, header, event, "duplicate"))
        return
    turn.state.put(EVENTS.key(run), event)
    if event.ts > turn.now:
        turn.state.put(key, header)
        turn.set_timer(event.ts, Timer("start", run))
        turn.history.append(disposed(turn, run, header, event, "delayed", detail=str(event.ts)))
    else:
        begin(turn, run, header, event)


def _is_known(turn: Turn, run: str, key: bytes) -> bool:
    state = turn.state
    return run in turn.live or state.get(RUNS, key) is not None or state.get(ENDED, ENDED.key(run)) is not None
