"""Which events a replay is about, as its filters say, and what is to be known of them."""

from collections import Counter
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from stream_engine.cli.replay_app import ReplayApp
from stream_engine.core.expressions.expression import AbsentError, EvaluationError, Expression
from stream_engine.core.expressions.scope import Scope, ScopeError
from stream_engine.core.functions.catalogue import Catalogue, start_event
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.copies import Copies
from stream_engine.core.routing.replay import Extent, Replay
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating import replaying


class Chosen(NamedTuple):
    """The events that are to be replayed; what else is to be said of them, in words.

    ``left_out`` says why there are none, where that is known. ``invoked`` counts runs that were meant and that no event has triggered, as far as history was
    asked. ``senders`` has how many events were sent by runs of other functions, ``copies`` which by runs of earlier replays.
    """

    events: list[Event]
    left_out: str
    invoked: int
    senders: Counter[str]
    copies: Copies


def choose(here: ReplayApp, made: Replay, catalogue: Catalogue, condition: Expression | None) -> Chosen:
    """Read the range of a replay and, where it is by status, history; return what is to be replayed of it.

    Raises:
        UserError: Kafka does not answer, or the condition has no value for an event.
    """
    selected, invoked = None, 0
    if made.statuses:
        keeps_all = catalogue.keeps_all(made.function)
        found = replaying.chosen_by_status(here.settings, here.app, made, keeps_all=keeps_all)
        selected, invoked = frozenset(found.places), found.invoked
    extent = Extent(made.id, made.topic, made.spans, made.function, selected)
    events, senders, copies, absent = list[Event](), Counter[str](), Copies(), list[str]()
    seen = 0
    for line in replaying.events(here.settings, extent, catalogue):
        seen += 1
        if condition is not None and not _holds(condition, line.event):
            absent += _absent(condition, line.event)
            continue
        events.append(line.event)
        if line.cause is not None:
            copies.add(line.cause)
            # A handler's id is its function's and a word.
            senders[line.cause.function.partition(":")[0]] += 1
    del senders[made.function]
    is_strange = seen and len(absent) == seen
    left_out = f". --if looks at what none of {seen} events has: {absent[0]}" if is_strange else ""
    return Chosen(events, left_out, invoked, senders, copies)


def of_copies(made: Replay, copies: Copies) -> str | None:
    """Return in words what is to be known of events that runs of earlier replays have sent, or None where there are none."""
    if not copies.replays:
        return None
    told = ", ".join(f"{count} by {replay}" for replay, count in sorted(copies.replays.items()))
    words = f"{copies.replays.total()} of these events were sent by runs of earlier replays: {told}"
    if not copies.beside:
        return words
    return (
        f"{words}. For {copies.beside} of them there is also what another run of the same event has sent, the first one or that of another replay: {made.function} has had both, "
        "and gets both again, but only one of those that have one id. They were stored when the replays ran, so --from and --to tell them apart"
    )


def of_what_others_send(made: Replay, senders: Counter[str]) -> str | None:
    """Return in words what is to be known of events that runs of other functions have sent, or None where there are none."""
    if not senders:
        return None
    told = ", ".join(f"{count} by runs of {name}" for name, count in sorted(senders.items()))
    return (
        f"of these events, some were sent by runs of other functions: {told}. Where such a function is replayed too, its runs send them anew, "
        f"and {made.function} runs for these as well: replay only one of the two"
    )


def of_those_that_are_paused(made: Replay, catalogue: Catalogue, paused: AbstractSet[str]) -> str | None:
    """Return in words what is to be known of functions other than the replayed one that are paused, or None where none is.

    Which of them its runs send to or invoke is not known before these run.
    """
    others = sorted(catalogue.functions.keys() & paused - {made.function})
    if not others:
        return None
    return (
        f"paused functions: {', '.join(others)}. What runs of this replay send to such a function it does not run before "
        "`stream-engine functions resume FUNCTION --replay`, and a step that invokes it fails"
    )


def of_those_that_were_invoked(made: Replay, catalogue: Catalogue, invoked: int) -> str:
    """Return in words what a replay cannot reach, because no event has triggered it; empty where that is nothing."""
    instead = "replay the function that invokes it, whose runs invoke it anew"
    if invoked:
        return f". {invoked} such runs were invoked by steps of others, and no event has triggered them: {instead}"
    spec = catalogue.functions[made.function]
    if set(spec.triggers) <= {start_event(made.function)} and not spec.crons:
        return f". {made.function} has no trigger: a run that was invoked has no event; {instead}"
    return ""


def _absent(condition: Expression, event: Event) -> list[str]:
    """Return in words which field is not there that a condition looks at, if that is why it does not hold."""
    try:
        condition.value(Scope(event))
    except AbsentError as error:
        return [str(error)]
    return []


def _holds(condition: Expression, event: Event) -> bool:
    try:
        return condition.condition(Scope(event))
    except (EvaluationError, ScopeError) as error:
        raise UserError(
            f"--if is neither true nor false for the event {event.id} ({event.topic}/{event.partition}, offset {event.offset}): {error}; "
            "ask first what there is, as in type(event.data.total) == int && event.data.total > 100"
        ) from error
