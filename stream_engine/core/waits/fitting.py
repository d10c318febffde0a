"""Which events fit a wait, of those that have the name and the value that it goes by."""

from stream_engine.core.expressions.expression import (
    EvaluationError,
    ExpressionError,
    compile_expression,
    over,
    value_at,
)
from stream_engine.core.expressions.scope import Scope
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.wait_tables import Offered
from stream_engine.core.records.wanted import Await, Sender


def fits(turn: Turn, asked: Await, found: Offered) -> bool:
    """Return whether an event is what a wait is for: of one that its run sees, in time, with the values and under the condition that it asks for."""
    event = found.event
    if found.sender is not None and not _is_seen(turn, asked, found.sender):
        return False
    if asked.until and event.timestamp > asked.until:
        return False
    if asked.wanted.also:
        scope = Scope(event)
        if any(value_at(path, scope) != value for path, value in asked.wanted.also):
            return False
    condition = asked.wanted.if_
    if not condition:
        return True
    try:
        names = over(needs_event=asked.event is not None)
        return compile_expression(condition, names).condition(Scope(asked.event or event, event))
    except (EvaluationError, ExpressionError):
        # It says nothing about this event, which is none of the waiting run's making.
        return False


def _is_seen(turn: Turn, asked: Await, sender: Sender) -> bool:
    """Return whether a wait sees what a run has sent: live, what live runs have; in a replay, what its runs have, and what live ones have that it does not run again."""
    if asked.replay_id is None or sender.replay_id is not None:
        return sender.replay_id == asked.replay_id
    return not turn.rules.runs_again(asked.replay_id, sender)
