"""The course of a run's code outside of its steps: how it is called, and what follows from how it ends."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from stream_engine.core.stages.commands import FailRun, FinishRun, Input, RetryRun
from stream_engine.sdk.errors import RunFailed, StepError
from stream_engine.sdk.failures import cause_of, failure_of
from stream_engine.sdk.middleware import surround
from stream_engine.sdk.results import encode_result
from stream_engine.sdk.run import Execution
from stream_engine.sdk.scope import scope
from stream_engine.sdk.threads import Thread, call_in_thread, note_while_running


async def run_body(execution: Execution) -> None:
    """Call the function's code, and post what follows from its end."""
    scope.set(execution)
    ctx, error = execution.ctx, execution.run.error
    args = (ctx,) if error is None else (ctx, RunFailed(execution.run.of_run or "", error))
    middleware = execution.host.middleware.runs
    try:
        if middleware:
            value = await surround(middleware, (ctx,), partial(_call, execution, args))()
        else:
            value = await _call(execution, args)
        conclusion: Input = FinishRun(execution.run_id, encode_result(execution, None, value))
    except BaseException as raised:
        if execution.task is not asyncio.current_task(execution.host.loop):
            raise  # this coroutine is being closed, by a loop that ended
        if execution.closed:
            return
        conclusion = _judge(execution, raised)
    finally:
        # Both refer to the execution: without the circles they are gone at once, and not when the collector comes by.
        execution.ctx = execution.task = None
    execution.finish(conclusion)


async def _call(execution: Execution, args: tuple[Any, ...]) -> Any:
    code = execution.function.code
    if code.is_async:
        return await code.call(*args)
    while True:
        try:
            value = await _call_in_thread(execution, code.call, args)
        except BaseException:
            if execution.unwound_at < 0 or execution.closed:
                raise
        else:
            if execution.unwound_at < 0:
                return value
        await execution.rewind()


async def _call_in_thread(execution: Execution, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    host, function = execution.host, execution.run.function
    # Until it has a thread it only waits, and there is nothing in it that could be lent.
    execution.busy += 1
    try:
        await host.run_slots.take(function)
    finally:
        execution.busy -= 1
    threads: list[Thread] = []

    def begun(thread: Thread) -> None:
        threads.append(thread)
        note_while_running(execution.threads, thread)

    try:
        return await call_in_thread(host.run_threads, begun, call, args, {})
    finally:
        host.run_slots.give(function, *threads)


def _judge(execution: Execution, raised: BaseException) -> Input:
    """Return what follows from an exception that the code raised: another attempt, or the run's failure."""
    cause = cause_of(raised)
    failure = failure_of(cause)
    if isinstance(cause, StepError):
        return FailRun(execution.run_id, failure)
    delay = execution.function.options.retry.delay(cause, execution.run.attempt, execution.host.clock())
    if delay is None:
        return FailRun(execution.run_id, failure)
    return RetryRun(execution.run_id, delay, failure)
