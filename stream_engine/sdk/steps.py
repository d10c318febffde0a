"""``ctx.step``: what a function does durably."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError
from datetime import datetime
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack, overload

from stream_engine.core.duration import Duration, milliseconds
from stream_engine.sdk.callback import Callback, SyncCallback
from stream_engine.sdk.errors import StepUsageError, epoch_ms
from stream_engine.sdk.events import Event
from stream_engine.sdk.function import Function
from stream_engine.sdk.invoking import Terms, callee, data_of, invoke_step
from stream_engine.sdk.retry import Retry, retry_of
from stream_engine.sdk.run import Execution, Unwind
from stream_engine.sdk.sending import Message, produce_step, send_events_step
from stream_engine.sdk.step import Body, run_step, sleep_step
from stream_engine.sdk.waiting import LOOKBACK, Which, wait_step, wanted

P = ParamSpec("P")
R = TypeVar("R")

Eventually = Coroutine[Any, Any, R]


class How(TypedDict, total=False):
    """How a function is invoked: how long to wait for its result at most, and whether its run goes on when nobody waits for it."""

    timeout: Duration | None
    detached: bool


class Runner:
    """Calls functions as steps, with options that `Steps.options` gave."""

    __slots__ = ("_execution", "_retry", "_timeout")

    def __init__(self, execution: Execution, retry: Retry | None = None, timeout: float | None = None) -> None:
        self._execution = execution
        self._retry = retry
        self._timeout = timeout

    @overload
    def run(
        self, id: str, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Eventually[R]: ...
    @overload
    def run(self, id: str, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Eventually[R]: ...
    def run(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Eventually[Any]:
        """Call ``fn`` once, durably: its result is recorded, and is what this returns in every execution of the run.

        ``fn`` may be ``def``, which is called in a thread, or ``async def``. Its result is JSON: plain values, dataclasses,
        pydantic models, and what its return annotation says is made of it again. Its arguments are not recorded.

        Raises:
            StepError: ``fn`` failed, and is out of retries.
        """
        execution = self._execution
        return run_step(execution, execution.name(id), Body(fn, args, kwargs, self._retry, self._timeout))


class Steps(Runner):
    """What an ``async def`` function does durably. Each step has an id; the same id again is ``id:1``, ``id:2``, ...

    Steps may run side by side, by ``asyncio.gather``, ``asyncio.TaskGroup``, ``asyncio.wait``; not inside of one another.
    """

    __slots__ = ()

    def options(self, *, timeout: Duration | None = None, retries: int | Retry | None = None) -> Runner:
        """Return a ``run`` with options: how long one attempt may take, and how often and when another one is made.

        After ``timeout``, an ``async def`` body is cancelled. A ``def`` body cannot be interrupted: it goes on in its thread,
        and what it returns is dropped.

        Raises:
            StepUsageError: a value is not allowed.
        """
        seconds = None if timeout is None else _milliseconds("options", timeout) / 1_000
        return Runner(self._execution, None if retries is None else retry_of("step.options", retries), seconds)

    def sleep(self, id: str, duration: Duration) -> Eventually[None]:
        """Sleep: seconds, ``timedelta``, or text such as ``"1h"``. A worker that stops meanwhile does not prolong it.

        Raises:
            StepUsageError: it is no duration, or the sleep would not end before the year 9999 does.
        """
        execution = self._execution
        return sleep_step(execution, execution.name(id), _milliseconds(id, duration), None)

    def sleep_until(self, id: str, at: datetime) -> Eventually[None]:
        """Sleep until a time, which must have a time zone; one that is past is over at once.

        Raises:
            StepUsageError: it is no time, or one after the year 9999 in UTC.
        """
        execution = self._execution
        try:
            until = epoch_ms(at)
        except (AttributeError, ValueError) as error:
            raise StepUsageError(f"step {id!r}: {error}") from None
        return sleep_step(execution, execution.name(id), 0, until)

    @overload
    def invoke(
        self, id: str, function: Function[..., Coroutine[Any, Any, R]], data: Any = None, **how: Unpack[How]
    ) -> Eventually[R]: ...
    @overload
    def invoke(self, id: str, function: Function[..., R], data: Any = None, **how: Unpack[How]) -> Eventually[R]: ...
    @overload
    def invoke(self, id: str, function: str, data: Any = None, **how: Unpack[How]) -> Eventually[Any]: ...
    def invoke(self, id: str, function: Any, data: Any = None, **how: Unpack[How]) -> Eventually[Any]:
        """Have a run of another function made, and return what it returns; no worker is held meanwhile.

        ``function`` is one of this app or another on the same Kafka, its id, or ``"app/id"``. Its gates stand before the run, but for
        debounce and batch. It is cancelled when the wait for it times out, or this run ends first, unless it is ``detached``;
        that the code gives the call up, as by cancelling its task, does not reach it before.

        Raises:
            InvokeError: there is no result; its ``reason`` says why.
            StepUsageError: that function cannot be invoked so.
        """
        execution = self._execution
        unknown = how.keys() - How.__annotations__
        if unknown:
            raise StepUsageError(
                f"step {id!r}: invoke has no {', '.join(sorted(unknown))}; it has data, timeout, detached"
            )
        called, timeout = callee(execution, id, function), how.get("timeout")
        most = None if timeout is None else _milliseconds(id, timeout)
        terms = Terms(data_of(id, called.function, data), most, how.get("detached", False))
        return invoke_step(execution, execution.name(id), called, terms)

    def callback(self, id: str, *, timeout: Duration | None = None) -> Callback:
        """Wait for somebody outside: hand out the ``token`` of what this returns, in a step, and await it for the data that completes it.

        It is completed by ``stream-engine callbacks complete TOKEN DATA``, by ``POST /callbacks/TOKEN`` at a worker's endpoint, or by an event
        ``engine/callback.completed``; the first one counts, even if it comes before this is awaited. Nobody within ``timeout``: None.

        Raises:
            StepUsageError: it is no duration.
        """
        execution = self._execution
        most = None if timeout is None else _milliseconds(id, timeout)
        return Callback(execution, execution.name(id), most)

    def wait_for_event(self, id: str, name: str, **which: Unpack[Which]) -> Eventually[Event[Any] | None]:
        """Wait for an event, also if it has come since the run's own one; return it, or None after ``timeout``. No worker is held meanwhile.

        It is the earliest that no other wait of this run has had. ``name`` may end in ``*``; see `stream_engine.sdk.waiting.Which`.

        Raises:
            StepUsageError: which event is meant cannot be told, or the run's own event lacks the field.
        """
        execution = self._execution
        meant = wanted(execution, id, name, which)
        timeout = which.get("timeout")
        most = None if timeout is None else _milliseconds(id, timeout)
        lookback = _milliseconds(id, which.get("lookback", LOOKBACK))
        return wait_step(execution, execution.name(id), meant, most, lookback)

    def send_event(self, id: str, events: Event[Any] | Iterable[Event[Any]]) -> Eventually[list[str]]:
        """Send events exactly once; return their ids. Those without an id get one that follows from the step."""
        execution = self._execution
        return send_events_step(execution, execution.name(id), events)

    def produce(self, id: str, topic: str, **message: Unpack[Message]) -> Eventually[None]:
        """Produce a message to any topic. ``value`` is bytes, text, or what JSON can express; None is a tombstone.

        A crash may send it twice; the header ``stream-engine-id`` is then the same.

        Raises:
            StepError: there is no such topic, the cluster does not create it, and the step is out of retries.
        """
        execution = self._execution
        return produce_step(execution, execution.name(id), topic, message)


class SyncRunner:
    """Calls functions as steps, with options that `SyncSteps.options` gave."""

    __slots__ = ("_execution", "_runner")

    def __init__(self, execution: Execution, runner: Runner) -> None:
        self._execution = execution
        self._runner = runner

    @overload
    def run(self, id: str, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def run(self, id: str, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def run(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """See `Runner.run`."""
        return self._wait(self._runner.run(id, fn, *args, **kwargs))

    def _wait(self, step: Eventually[R]) -> R:
        future = asyncio.run_coroutine_threadsafe(step, self._execution.host.loop)
        try:
            return future.result()
        except CancelledError:
            # The run was taken away while this thread waited for it.
            raise Unwind from None


class SyncSteps(SyncRunner):
    """What a ``def`` function does durably: the same as `Steps`, but each step blocks.

    Where a step has to wait for a time, the function is left by an exception that is no ``Exception``, so that it occupies
    no thread, and is executed again when the time has come. Catch no ``BaseException`` around steps.
    """

    __slots__ = ("_steps",)

    def __init__(self, execution: Execution) -> None:
        self._steps = Steps(execution)
        super().__init__(execution, self._steps)

    def options(self, *, timeout: Duration | None = None, retries: int | Retry | None = None) -> SyncRunner:
        """See `Steps.options`."""
        return SyncRunner(self._execution, self._steps.options(timeout=timeout, retries=retries))

    def sleep(self, id: str, duration: Duration) -> None:
        """See `Steps.sleep`."""
        self._wait(self._steps.sleep(id, duration))

    def sleep_until(self, id: str, at: datetime) -> None:
        """See `Steps.sleep_until`."""
        self._wait(self._steps.sleep_until(id, at))

    @overload
    def invoke(
        self, id: str, function: Function[..., Coroutine[Any, Any, R]], data: Any = None, **how: Unpack[How]
    ) -> R: ...
    @overload
    def invoke(self, id: str, function: Function[..., R], data: Any = None, **how: Unpack[How]) -> R: ...
    @overload
    def invoke(self, id: str, function: str, data: Any = None, **how: Unpack[How]) -> Any: ...
    def invoke(self, id: str, function: Any, data: Any = None, **how: Unpack[How]) -> Any:
        """See `Steps.invoke`."""
        return self._wait(self._steps.invoke(id, function, data, **how))

    def callback(self, id: str, *, timeout: Duration | None = None) -> SyncCallback:
        """See `Steps.callback`; `SyncCallback.result` waits."""
        return SyncCallback(self._steps.callback(id, timeout=timeout), self._wait)

    def wait_for_event(self, id: str, name: str, **which: Unpack[Which]) -> Event[Any] | None:
        """See `Steps.wait_for_event`."""
        return self._wait(self._steps.wait_for_event(id, name, **which))

    def send_event(self, id: str, events: Event[Any] | Iterable[Event[Any]]) -> list[str]:
        """See `Steps.send_event`."""
        return self._wait(self._steps.send_event(id, events))

    def produce(self, id: str, topic: str, **message: Unpack[Message]) -> None:
        """See `Steps.produce`."""
        self._wait(self._steps.produce(id, topic, **message))


def _milliseconds(step: str, duration: Duration) -> int:
    try:
        return milliseconds(duration)
    except ValueError as error:
        raise StepUsageError(f"step {step!r}: {error}") from None
