"""Stage *step*, in the worker: what the code asks for durably is done, reported, and answered from the journal."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

from stream_engine.core.instants import LAST_MS, iso
from stream_engine.core.records.tables import Outgoing, Step
from stream_engine.core.stages.commands import FailStep, RecordStep, Sleep
from stream_engine.sdk.codec import decode_plain, encode
from stream_engine.sdk.errors import NoTopicError, StepUsageError
from stream_engine.sdk.failures import failure_of
from stream_engine.sdk.mailbox import Signal
from stream_engine.sdk.middleware import surround
from stream_engine.sdk.results import NULL, as_recorded, encode_result, result_of
from stream_engine.sdk.retry import Retry
from stream_engine.sdk.run import Execution
from stream_engine.sdk.scope import CurrentStep, scope
from stream_engine.sdk.signature import Callee, callee
from stream_engine.sdk.threads import Thread, call_in_thread, note_while_running

Sends = tuple[tuple[str, Outgoing], ...]
Make = Callable[[], Awaitable[tuple[Any, Sends]]]
"""Makes the result of a step, and what it sends."""


class Body(NamedTuple):
    """What a step calls, and how: ``timeout`` is in seconds; without ``retry``, the function's policy is in force."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    retry: Retry | None = None
    timeout: float | None = None


class StepCall(CurrentStep):
    """One attempt of a step's body, as middleware sees it; ``args`` and ``kwargs`` may be changed before it is called."""

    __slots__ = ("args", "fn", "kwargs", "thread")

    def __init__(self, execution: Execution, id: str, attempt: int, body: Body) -> None:
        super().__init__(execution.run_id, id, attempt, execution.run.root, execution)
        self.fn = body.fn
        self.args = body.args
        self.kwargs = body.kwargs
        self.thread: Thread | None = None


async def run_step(execution: Execution, id: str, body: Body) -> Any:
    """Return the recorded result of a step; call its body until it has one.

    Raises:
        StepError: the step is out of retries.
    """
    known = execution.enter(id, "run")
    try:
        about = callee(body.fn)
        signal: Signal = await execution.recall(id) if known else 0
        value = None
        report: RecordStep | FailStep | None = None
        while isinstance(signal, int):
            report, value = await _in_turn(execution, StepCall(execution, id, signal, body), body, about)
            signal = await _report(execution, id, report)
        if isinstance(report, RecordStep):
            return value
        return result_of(signal, id, about.decode)
    finally:
        execution.leave()


async def sleep_step(execution: Execution, id: str, delay: int, until: int | None) -> None:
    """Sleep for ``delay``, or until ``until`` if that is given; both are milliseconds.

    Raises:
        StepUsageError: the sleep, which has not begun yet, would not end before the year 9999 does.
    """
    known = execution.enter(id, "sleep", delay if until is None else None)
    try:
        signal: Signal = await execution.recall(id) if known else 0
        if isinstance(signal, int):
            if not execution.may_begin():
                await execution.hold()
            at = _end(id, delay, until, execution.host.clock())
            signal = await execution.report_timed(id, Sleep(execution.run_id, id, delay, until), at)
        assert isinstance(signal, Step)
        result_of(signal, id, decode_plain)
    finally:
        execution.leave()


async def send_step(execution: Execution, id: str, kind: str, make: Make) -> Any:
    """Return the recorded result of a step that sends; what it sends and that it did are recorded together.

    Raises:
        StepError: where it sends to does not exist, and the step is out of retries.
    """
    known = execution.enter(id, kind, make)
    try:
        signal: Signal = await execution.recall(id) if known else 0
        while isinstance(signal, int):
            if not execution.may_begin():
                await execution.hold()
            started_at = execution.host.clock()
            report: RecordStep | FailStep
            try:
                result, sends = await make()
            except NoTopicError as error:
                retry_in = execution.function.options.retry.delay(error, signal, execution.host.clock())
                report = FailStep(execution.run_id, id, signal, started_at, failure_of(error), retry_in, kind)
            else:
                report = RecordStep(execution.run_id, id, signal, started_at, encode(result), kind, sends)
            signal = await _report(execution, id, report)
        return result_of(signal, id, decode_plain)
    finally:
        execution.leave()


async def _report(execution: Execution, id: str, report: RecordStep | FailStep) -> Signal:
    """Report an attempt; return the step's outcome, or the number of the attempt that is to be made."""
    if isinstance(report, FailStep) and report.retry_in is not None:
        return await execution.report_timed(id, report, execution.host.clock() + report.retry_in)
    return await execution.report(id, report)


async def _in_turn(
    execution: Execution, call: StepCall, body: Body, about: Callee
) -> tuple[RecordStep | FailStep, Any]:
    """Make an attempt once there is a slot for it; the lease is looked at last, because it may take long until then."""
    host, function = execution.host, execution.run.function
    slots = host.step_slots if about.is_async else host.thread_slots
    if not slots.take_now(function):
        await slots.take(function)
    try:
        if not execution.may_begin():
            await execution.hold()
        return await _attempt(execution, call, body, about)
    finally:
        slots.give(function, call.thread)


async def _attempt(
    execution: Execution, call: StepCall, body: Body, about: Callee
) -> tuple[RecordStep | FailStep, Any]:
    """Call the body once; return what is to be reported, and its result as it will be read from the record."""
    started_at = execution.host.clock()
    task = asyncio.current_task()
    execution.bodies[call.id] = (call.attempt, started_at)
    scope.set(call)
    try:
        if about.is_async and body.timeout is None and not execution.host.middleware.steps:
            value = await call.fn(*call.args, **call.kwargs)
        else:
            value = await _call(execution, call, body.timeout, about)
        raw = NULL if value is None else encode_result(execution, call.id, value)
        value = as_recorded(value, raw, call.id, about.decode)
    except BaseException as error:
        if _is_interruption(execution, task, error):
            raise
        retry = body.retry or execution.function.options.retry
        retry_in = retry.delay(error, call.attempt, execution.host.clock())
        return FailStep(execution.run_id, call.id, call.attempt, started_at, failure_of(error), retry_in), None
    finally:
        del execution.bodies[call.id]
        scope.set(execution)
    return RecordStep(execution.run_id, call.id, call.attempt, started_at, raw), value


async def _call(execution: Execution, call: StepCall, seconds: float | None, about: Callee) -> Any:
    """Call the body in its thread, within its time, with middleware around it."""
    plainly = partial(_call_plainly, execution, call, about)
    surrounded = surround(execution.host.middleware.steps, (execution.ctx, call), plainly)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await surrounded()
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(f"step {call.id!r} took longer than {seconds:g} s") from None


async def _call_plainly(execution: Execution, call: StepCall, about: Callee) -> Any:
    if about.is_async:
        return await call.fn(*call.args, **call.kwargs)

    def begun(thread: Thread) -> None:
        call.thread = thread
        note_while_running(execution.threads, thread)

    value = await call_in_thread(execution.host.step_threads, begun, call.fn, call.args, call.kwargs)
    # `lambda: fetch(url)` is no coroutine function, but what it returns is to be awaited all the same.
    return await value if inspect.isawaitable(value) else value


def _end(id: str, delay: int, until: int | None, now: int) -> int:
    """Return when a sleep that begins now ends."""
    end = now + delay if until is None else until
    if end > LAST_MS:
        longest = (LAST_MS - now) // 86_400_000
        raise StepUsageError(
            f"step {id!r}: it would sleep beyond {iso(LAST_MS)}, where time ends here; from now, '{longest}d' is the longest sleep"
        )
    return end


def _is_interruption(execution: Execution, task: asyncio.Task[Any] | None, error: BaseException) -> bool:
    """Return whether the body, called in ``task``, was interrupted from outside, rather than failed."""
    if isinstance(error, GeneratorExit):
        # A coroutine is closed, by a loop that ended, from outside of its task; inside, the body raised this itself.
        return task is not asyncio.current_task(execution.host.loop)
    if not isinstance(error, asyncio.CancelledError):
        return False
    return execution.closed or (task is not None and task.cancelling() > 0)
