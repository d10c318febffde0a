"""The options of a function that decide whether, when and in which order its runs start, together."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import msgspec

from stream_engine.core.expressions.expression import EvaluationError, compile_expression
from stream_engine.core.expressions.scope import Scope
from stream_engine.core.functions import flow
from stream_engine.core.functions.catalogue import cron_event
from stream_engine.core.records.journal import Event
from stream_engine.sdk import checks
from stream_engine.sdk.cancelling_events import CancelOn, cancel_on_of
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.gathering import Batch, Debounce
from stream_engine.sdk.limits import Concurrency, RateLimit, Throttle, concurrency_of
from stream_engine.sdk.priority import Priority
from stream_engine.sdk.singleton import Singleton


class FlowOptions(TypedDict, total=False):
    """The options of a function about flow control; docs/flow-control.md says how they act together.

    Attributes:
        idempotency: an expression; one run for each of its values in 24 hours.
        debounce: one run for many events, once they have ceased to come.
        batch: one run for many events, once there are enough of them.
        rate_limit: at most so many runs in a time; further ones are dropped.
        singleton: one run at a time; others are dropped, or replace it.
        throttle: at most so many starts in a time; further ones wait.
        concurrency: at most so many runs at a time; further ones wait. Also a list of two.
        priority: which of the runs that wait goes first.
        cancel_on: an event that cancels the run. Also a list of up to five.
    """

    idempotency: str | None
    debounce: Debounce | None
    batch: Batch | None
    rate_limit: RateLimit | None
    singleton: Singleton | None
    throttle: Throttle | None
    concurrency: Concurrency | list[Concurrency] | None
    priority: Priority | None
    cancel_on: CancelOn | list[CancelOn] | None


_CLASSES: dict[str, tuple[type, str]] = {
    "debounce": (Debounce, "Debounce('5s')"),
    "batch": (Batch, "Batch(100, timeout='10s')"),
    "rate_limit": (RateLimit, "RateLimit(1, per='1h')"),
    "singleton": (Singleton, "Singleton()"),
    "throttle": (Throttle, "Throttle(30, per='1m')"),
    "priority": (Priority, "Priority(\"event.data.plan == 'enterprise' ? 120 : 0\")"),
}


def flow_of(where: str, options: Mapping[str, Any]) -> flow.Flow:
    """Return what options about flow control mean together; those of other kinds are passed over.

    Raises:
        DeclarationError: one of them is not allowed, or not beside another.
    """
    given = {name: options[name] for name in FlowOptions.__annotations__ if options.get(name) is not None}
    if not given:
        return flow.PLAIN
    specs: dict[str, Any] = {}
    for name, value in given.items():
        if name == "concurrency":
            specs[name] = concurrency_of(where, value)
        elif name == "cancel_on":
            specs[name] = cancel_on_of(where, value)
        elif name == "idempotency":
            specs[name] = checks.expression(where, name, value, checks.KEYS).text
        else:
            kind, example = _CLASSES[name]
            checks.option(where, name, value, kind, example)
            specs[name] = value.spec()
    declared = flow.Flow(**specs)
    _check_together(where, declared)
    return declared


def check_crons(where: str, function: str, declared: flow.Flow, crons: tuple[flow.Cron, ...]) -> None:
    """Look at whether a function's crons go with its flow control.

    Raises:
        DeclarationError: they do not.
    """
    if not crons:
        return
    for name, option in (("batch", declared.batch), ("debounce", declared.debounce)):
        if option is not None:
            raise DeclarationError(
                f"{where}: {name} and Cron: a tick is not gathered with others; give the cron a function of its own"
            )
    data = msgspec.json.encode({"cron": crons[0].expression, "index": 0, "tick": "2024-01-01T00:00:00.000Z"})
    tick = Scope(Event(cron_event(function), "", "", 0, 0, "", 0, 0, data))
    for option_name, text in _keys(declared):
        try:
            compile_expression(text).key(tick)
        except EvaluationError as error:
            raise DeclarationError(
                f"{where}: {option_name} and Cron: every tick would be a dead letter, because it has no such key ({error}); "
                "give the cron a function of its own"
            ) from None
    if declared.priority is not None:
        _check_priority(where, declared.priority, tick)


def _check_priority(where: str, priority: str, tick: Scope) -> None:
    try:
        compile_expression(priority).number(tick)
    except EvaluationError as error:
        raise DeclarationError(
            f"{where}: priority and Cron: every tick would be a dead letter, because it has no such number ({error}); "
            "give the cron a function of its own, or ask with has(...)"
        ) from None


def check_cancel_on(where: str, declared: flow.Flow, triggers: Iterable[str]) -> None:
    """Look at whether what cancels a function's runs goes with its triggers.

    Raises:
        DeclarationError: an event that joins others in one run would cancel that run.
    """
    keeps_all = declared.debounce is not None and declared.debounce.keep == "all"
    for one in declared.cancel_on if keeps_all else ():
        if one.name in triggers:
            raise DeclarationError(
                f"{where}: debounce with keep='all', and cancel_on {one.name!r}, which is a trigger: an event would cancel the run that it "
                "belongs to; leave one of them out, or keep the latest"
            )


def _check_together(where: str, declared: flow.Flow) -> None:
    batch = declared.batch
    if batch is None:
        return
    for name, option in (("debounce", declared.debounce), ("singleton", declared.singleton)):
        if option is not None:
            raise DeclarationError(f"{where}: batch and {name}: they do not go together; leave one of them out")
    for name, text in _keys(declared):
        if name not in ("batch", "idempotency") and text != batch.key:
            own = "has none" if batch.key is None else f"is {batch.key!r}"
            raise DeclarationError(
                f"{where}: {name} with key={text!r}, and batch: a batch is one run, and its events may differ in this; "
                f"the key must be the batch's own, which {own}, or be left out"
            )


def _keys(declared: flow.Flow) -> list[tuple[str, str]]:
    """Return the keys that are declared, each with the option that it belongs to."""
    options: list[tuple[str, Any]] = [
        ("debounce", declared.debounce),
        ("batch", declared.batch),
        ("rate_limit", declared.rate_limit),
        ("singleton", declared.singleton),
        ("throttle", declared.throttle),
        *(("concurrency", limit) for limit in declared.concurrency),
    ]
    keys = [(name, option.key) for name, option in options if option is not None and option.key is not None]
    return keys if declared.idempotency is None else [("idempotency", declared.idempotency), *keys]
