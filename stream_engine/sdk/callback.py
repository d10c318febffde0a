"""Callbacks: steps that somebody outside completes, who has been handed a token."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from stream_engine.core.instants import LAST_MS
from stream_engine.core.records.tables import Step
from stream_engine.core.routing.callback_token import Named, token_of
from stream_engine.core.stages.callbacks import KIND
from stream_engine.core.stages.commands import AwaitCallback
from stream_engine.sdk.codec import decode_plain
from stream_engine.sdk.mailbox import Signal
from stream_engine.sdk.results import result_of
from stream_engine.sdk.run import Execution


class Callback:
    """A step of an ``async def`` function that somebody outside completes; await it for the data that completes it.

    Attributes:
        token: what is to be handed to whoever completes it, in a step; it is the same in every execution of the run. Whoever has it can
            complete the callback, so treat it like a password.
    """

    __slots__ = ("_execution", "_id", "_lock", "_outcome", "token")

    def __init__(self, execution: Execution, id: str, timeout: int | None) -> None:
        """Begin to wait; ``timeout`` is in milliseconds. From any thread, for `result` on the event loop's."""
        self._execution = execution
        self._id = id
        self._lock = asyncio.Lock()
        self._outcome: Step | None = None
        host = execution.host
        self.token = token_of(host.secret, Named(host.app_name, execution.run_id, id))
        until = LAST_MS if timeout is None else host.clock() + timeout
        announced = id, AwaitCallback(execution.run_id, id, timeout), until
        if execution.function.code.is_async:
            execution.announce(*announced)
        else:
            host.loop.call_soon_threadsafe(execution.announce, *announced)

    def __repr__(self) -> str:
        """Without the token: whoever reads a log is not to be able to complete it."""
        return f"{type(self).__name__}({self._id!r})"

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.result().__await__()

    async def result(self) -> Any:
        """Wait for the data that completes it; None if nobody does so in time. It may be awaited again, and by several tasks."""
        async with self._lock:
            if self._outcome is None:
                self._outcome = await self._completion()
        return result_of(self._outcome, self._id, decode_plain)

    async def _completion(self) -> Step:
        execution = self._execution
        announced = execution.enter(self._id, KIND)
        try:
            if not announced:  # in a rehearsal: nobody will complete it
                await execution.hold()
            signal: Signal = await execution.recall(self._id)
            assert isinstance(signal, Step)
            return signal
        finally:
            execution.leave()


class SyncCallback:
    """A step of a ``def`` function that somebody outside completes.

    Attributes:
        token: see `Callback`.
    """

    __slots__ = ("_callback", "_wait", "token")

    def __init__(self, callback: Callback, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._callback = callback
        self._wait = wait
        self.token = callback.token

    def __repr__(self) -> str:
        return repr(self._callback)

    def result(self) -> Any:
        """Wait for the data that completes it; None if nobody does so in time."""
        return self._wait(self._callback.result())
