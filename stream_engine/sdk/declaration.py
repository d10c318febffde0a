"""Declaring functions: whatever can be found wrong is found here, before anything runs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, Unpack, get_args, get_origin, get_type_hints

from stream_engine.core.functions import flow
from stream_engine.core.functions.catalogue import start_event
from stream_engine.sdk import checks
from stream_engine.sdk.codec import Decode, decode_plain, decoder
from stream_engine.sdk.context import Context, SyncContext
from stream_engine.sdk.errors import DeclarationError
from stream_engine.sdk.flow_options import FlowOptions, check_cancel_on, check_crons, flow_of
from stream_engine.sdk.function import Code, Function, Options
from stream_engine.sdk.limits import Timeouts
from stream_engine.sdk.names import check_id, suggestion
from stream_engine.sdk.retry import Retry, retry_of
from stream_engine.sdk.signature import EMPTY, annotation, is_async, return_decoder
from stream_engine.sdk.triggers import Cron, On, Triggers, triggers_of

P = ParamSpec("P")
R = TypeVar("R")


Trigger = str | On | Cron
# A sequence, because a list of one kind is no list of a wider kind to a type checker.
Triggering = Trigger | Sequence[Trigger]


class FunctionOptions(FlowOptions, total=False):
    """The options of a function; those about flow control are in `FlowOptions`.

    Attributes:
        on: what triggers it: an event's name, `On`, `Cron`, or a list of these. Without it, only its ``start`` does.
        version: the version of this code, ``"1"`` if not given. Versions stand side by side; a run stays on its own.
        retries: how often a step, and the body outside of steps, is tried again: 0 to 20, or `Retry`. The default is 4.
        on_failure: a function of ``(ctx, error)`` that runs when a run has failed; ``error`` is a `RunFailed`.
        on_cancel: a function of ``(ctx)`` that runs when a run was cancelled, whether that had begun or not.
        timeouts: how long a run may wait for its start, and how long it may take.
        accepts_new: whether new runs start on this version; exactly one version does.
    """

    on: Triggering
    version: str
    retries: int | Retry
    on_failure: Callable[..., Any] | None
    on_cancel: Callable[..., Any] | None
    timeouts: Timeouts | None
    accepts_new: bool


_OPTIONS = get_type_hints(FunctionOptions).keys()


def function(id: str, **options: Unpack[FunctionOptions]) -> Callable[[Callable[P, R]], Function[P, R]]:
    """Declare a function that an app includes later (`Engine.include`); `Engine.function` does both at once.

    Raises:
        DeclarationError: an option, or the function itself, is not allowed; the message says what is.
    """
    where = f"function {check_id('function', 'id', id)!r}"
    for name in options.keys() - _OPTIONS:
        problem = f"there is no such option; {suggestion(name, _OPTIONS)}"
        raise DeclarationError.of(where, name, options[name], problem)  # type: ignore[literal-required] # it is none of them
    checked = _check(where, id, options)
    on_failure, on_cancel = options.get("on_failure"), options.get("on_cancel")

    def declare(fn: Callable[P, R]) -> Function[P, R]:
        return Function(
            checked,
            _code(where, fn),
            None if on_failure is None else _handler(checked, ON_FAILURE, on_failure, ("ctx", "error")),
            None if on_cancel is None else _handler(checked, ON_CANCEL, on_cancel, ("ctx",)),
        )

    return declare


def _check(where: str, id: str, options: FunctionOptions) -> Options:
    accepts_new = options.get("accepts_new", True)
    if not isinstance(accepts_new, bool):
        raise DeclarationError.of(where, "accepts_new", accepts_new, "give True or False")
    triggers = triggers_of(where, id, options["on"]) if "on" in options else Triggers((), {}, ())
    declared = flow_of(where, options)
    check_crons(where, id, declared, triggers.crons)
    check_cancel_on(where, declared, triggers.names)
    return Options(
        id,
        check_id(where, "version", options.get("version", "1")),
        (*triggers.names, start_event(id)),
        retry_of(where, options.get("retries", 4)),
        accepts_new,
        triggers.conditions,
        declared,
        triggers.crons,
        _timeouts(where, options.get("timeouts")),
    )


def _timeouts(where: str, option: object) -> flow.Timeouts:
    if option is None:
        return flow.ANY_TIME
    checks.option(where, "timeouts", option, Timeouts, "Timeouts(start='10s', finish='1h')")
    assert isinstance(option, Timeouts)
    return option.spec()


ON_FAILURE, ON_CANCEL = "on_failure", "on_cancel"


def handler_id(function_id: str, kind: str) -> str:
    """Return the id of the function that runs when a run of another has failed, or was cancelled; users' ids have no colon."""
    return f"{function_id}:{kind}"


def _handler(of: Options, kind: str, fn: Callable[..., Any], takes: tuple[str, ...]) -> Function[..., Any]:
    """Return the function that runs when a run of another has ended badly: it has no triggers, and the same retries."""
    where = f"function {of.id!r}: {kind}"
    if isinstance(fn, Function):
        raise DeclarationError(f"{where}: give a plain function of ({', '.join(takes)}), not the function {fn.id!r}")
    options = Options(handler_id(of.id, kind), of.version, (), of.retry, of.accepts_new)
    return Function(options, _code(where, fn, takes))


def _code(where: str, fn: Any, takes: tuple[str, ...] = ("ctx",)) -> Code:
    if not callable(fn) or isinstance(fn, type):
        raise DeclarationError(f"{where}: {fn!r} is no function; give `def` or `async def`")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise DeclarationError(f"{where}: {fn.__qualname__} is a generator; it must return its result, not yield")
    signature = inspect.signature(fn)
    try:
        signature.bind(*takes)
    except TypeError as error:
        shape = f"({', '.join(takes)})"
        raise DeclarationError(f"{where}: it is called with {shape}, but has {signature}: {error}") from None
    first = next(iter(signature.parameters))
    return Code(fn, is_async(fn), _event_decoder(where, fn, first), return_decoder(fn))


def _event_decoder(where: str, fn: Callable[..., Any], parameter: str) -> Decode:
    """Return how the event's data is read: as ``Context[Model]`` says, or as a dict."""
    declared = _context_annotation(where, fn, parameter)
    kind = get_origin(declared) or declared
    wrong, right = (SyncContext, "Context") if is_async(fn) else (Context, "SyncContext")
    if kind is wrong:
        form = "an `async def`" if is_async(fn) else "a `def`"
        raise DeclarationError(f"{where}: {form} function gets a {right}, but {parameter!r} is a {wrong.__name__}")
    models = get_args(declared) if kind in (Context, SyncContext) else ()
    return decoder(models[0]) if models else decode_plain


def _context_annotation(where: str, fn: Callable[..., Any], parameter: str) -> Any:
    try:
        return annotation(fn, parameter)
    except NameError:
        pass
    try:
        return annotation(fn, parameter, _names_at_the_declaration())
    except NameError as error:
        text = getattr(fn, "__annotations__", {}).get(parameter, "")
        if "[" not in text:
            return (
                EMPTY  # without a model there is nothing to know, and `Context` itself is often imported only for types
            )
        raise DeclarationError(
            f"{where}: the annotation {text!r} of {parameter!r} cannot be evaluated ({error}); "
            "the model must be importable when the function is declared, not only for type checkers"
        ) from None


def _names_at_the_declaration() -> Mapping[str, Any]:
    """Return the local names around the declaration: where it stands inside a function, so may the model."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("stream_engine."):
        frame = frame.f_back
    return {} if frame is None else frame.f_locals
