"""Steps that wait for events."""

from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from stream_engine.core.duration import Duration
from stream_engine.core.expressions.criterion import check_path, criterion
from stream_engine.core.expressions.expression import (
    EvaluationError,
    ExpressionError,
    canonical_key,
    compared,
    compile_expression,
)
from stream_engine.core.expressions.scope import Scope, ScopeError, within_bounds
from stream_engine.core.records.journal import Event as EventRecord
from stream_engine.core.records.tables import Step
from stream_engine.core.records.wanted import Wanted
from stream_engine.core.stages.commands import WaitForEvent
from stream_engine.core.waits.answers import Answer
from stream_engine.sdk.codec import decode_plain, try_encode
from stream_engine.sdk.errors import DeclarationError, StepUsageError
from stream_engine.sdk.events import Event, ReceivedEvent
from stream_engine.sdk.mailbox import Signal
from stream_engine.sdk.names import check_trigger
from stream_engine.sdk.results import result_of
from stream_engine.sdk.run import Execution

LOOKBACK: Duration = "24h"
"""How far back a wait looks that does not say so."""

_MOST_COMPARED = 16_384
"""How many characters the fields and values may take that are compared one by one; they are written down with the wait."""


class Which(TypedDict, total=False):
    """Which event is waited for, and for how long.

    Attributes:
        match: the path of a field, such as ``"data.order_id"``, that is equal in the run's event and the awaited one; or a dict
            with paths and the values that they are to have in the awaited event, such as ``{"data.payment_id": card.id}``.
        if_: a condition over ``event`` and ``async_event``. Without ``match``, it needs an equality of a field of both.
        timeout: how long to wait; without it, for ever.
        lookback: how far back from now events are looked for, at most; not further than the run's own event.
    """

    match: str | Mapping[str, Any] | None
    if_: str | None
    timeout: Duration | None
    lookback: Duration


def wanted(execution: Execution, step: str, name: str, which: Which) -> Wanted:
    """Return which event a step means.

    Raises:
        StepUsageError: that cannot work, or the run's own event lacks the field that is compared.
    """
    unknown = which.keys() - Which.__annotations__
    if unknown:
        there = ", ".join(Which.__annotations__)
        raise StepUsageError(f"step {step!r}: wait_for_event has no {', '.join(sorted(unknown))}; it has {there}")
    try:
        check_trigger(f"step {step!r}", name, "wait_for_event")
        match = which.get("match")
        if isinstance(match, Mapping):
            return _with_values(name, match, which.get("if_"))
        meant = criterion(match, which.get("if_"))
        value = ""
        if meant.own:
            value = compared(compile_expression(f"event.{meant.own}").key(Scope(execution.event))[0])
    except DeclarationError as error:
        raise StepUsageError(str(error)) from None
    except (EvaluationError, ScopeError, ValueError) as error:
        raise StepUsageError(f"step {step!r}: {error}") from None
    return Wanted(name, meant.path, value, meant.if_, meant.needs_event)


async def wait_step(
    execution: Execution, id: str, wanted: Wanted, within: int | None, lookback: int
) -> Event[Any] | None:
    """Return the event that a step waits for, or None if none comes ``within`` a time; both times are milliseconds."""
    known = execution.enter(id, "wait", (wanted, within))
    try:
        signal: Signal = await execution.recall(id) if known else 0
        if isinstance(signal, int):
            if not execution.may_begin():
                await execution.hold()
            command = WaitForEvent(execution.run_id, id, wanted, within, lookback)
            signal = await execution.report_timed(id, command, 0)
        assert isinstance(signal, Step)
        event: Event[Any] | None = result_of(signal, id, _read)
        return event
    finally:
        execution.leave()


def _with_values(name: str, match: Mapping[str, Any], if_: str | None) -> Wanted:
    if not match:
        raise ExpressionError("match={}: give at least one path with its value, such as {'data.order_id': 7}")
    meant = criterion(None, if_, is_compared=True)
    (path, value), *more = ((check_path(path), _compared(path, value)) for path, value in match.items())
    takes = sum(len(other) + len(wants) for other, wants in more)
    if takes > _MOST_COMPARED:
        raise ExpressionError(
            f"match: the paths and values that are compared besides {path!r} take {takes:,} characters, long values counted in part; "
            f"at most {_MOST_COMPARED:,} are allowed. Compare fewer of them, or an id"
        )
    return Wanted(name, path, value, meant.if_, meant.needs_event, tuple(more))


def _compared(path: str, value: Any) -> str:
    """Return what a value is compared by, as it is in an event: JSON, whose numbers have their bounds."""
    plain = within_bounds(decode_plain(try_encode(value)))
    if plain is None:
        raise ExpressionError(f"match: {path!r} is compared with None; give the value that it is to have")
    return compared(canonical_key(plain, f"match: {path!r}"))


def _read(raw: bytes) -> Event[Any]:
    answer = msgspec.json.decode(raw, type=Answer)
    where = answer.topic, answer.partition, answer.offset
    key = None if answer.key is None else answer.key.encode()
    about = answer.name, answer.identity, answer.id, answer.ts, answer.ts
    return ReceivedEvent(EventRecord(*about, *where, bytes(answer.data), key), decode_plain)
