"""Steps that invoke functions, of this app or another one."""

from typing import Any, NamedTuple

from stream_engine.core.records.tables import Step
from stream_engine.core.stages.commands import OWN, Invoke
from stream_engine.sdk.codec import Decode, decode_plain
from stream_engine.sdk.errors import StepUsageError
from stream_engine.sdk.events import Event, check_size, data_json
from stream_engine.sdk.function import Function
from stream_engine.sdk.mailbox import Signal
from stream_engine.sdk.names import check_app, check_id
from stream_engine.sdk.results import result_of
from stream_engine.sdk.run import Execution


class Callee(NamedTuple):
    """A function to be invoked: its app, its id, and how its result is read."""

    app: str
    function: str
    decode: Decode


class Terms(NamedTuple):
    """How a function is invoked: with which data (JSON), for how many milliseconds at most, and whether its run outlives who waits for it."""

    data: bytes
    timeout: int | None
    detached: bool


def callee(execution: Execution, step: str, function: Any) -> Callee:
    """Return what a function, or its id, or ``"app/id"`` names.

    Raises:
        StepUsageError: it is none of these.
    """
    own = execution.host.app_name
    if isinstance(function, Function):
        if function.app is None:
            raise StepUsageError(
                f"step {step!r}: function {function.id!r} belongs to no app; engine.include([...]) it first"
            )
        # Where several apps include it, this one is meant.
        app = own if execution.host.includes(function) else function.app.name
        return Callee(app, function.id, function.code.decode_result)
    if not isinstance(function, str):
        raise StepUsageError(f"step {step!r}: {function!r} cannot be invoked; give a function, its id, or 'app/id'")
    app, slash, id = function.rpartition("/")
    try:
        return Callee(check_app(app) if slash else own, check_id(f"step {step!r}", "function", id), decode_plain)
    except ValueError as error:
        raise StepUsageError(f"step {step!r}: {error}") from None


def data_of(step: str, function: str, data: Any) -> bytes:
    """Return the data for a function as JSON.

    Raises:
        StepUsageError: JSON makes no object of it, or it is larger than an event may be.
    """
    event = Event(f"invoke/{function}", data)
    try:
        made = data_json(event)
        check_size(event.name, made)
    except ValueError as error:
        raise StepUsageError(f"step {step!r}: {error}") from error
    return made


async def invoke_step(execution: Execution, id: str, called: Callee, terms: Terms) -> Any:
    """Return what a function returned that the step invokes.

    Raises:
        InvokeError: there is no result.
    """
    known = execution.enter(id, "invoke", called)
    try:
        signal: Signal = await execution.recall(id) if known else 0
        if isinstance(signal, int):
            own = called.app == execution.host.app_name
            partitions = OWN if own else await execution.host.topics.partitions(f"{called.app}.commands")
            if not execution.may_begin():
                await execution.hold()
            command = Invoke(execution.run_id, id, called.app, called.function, partitions, *terms)
            signal = await execution.report_timed(id, command, 0)
        assert isinstance(signal, Step)
        return result_of(signal, id, called.decode)
    finally:
        execution.leave()
