"""The tasks that a run's code makes, which have to be counted to know when it has settled."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from stream_engine.sdk.run import Execution
from stream_engine.sdk.scope import scope


class TaskFactory:
    """The event loop's task factory while runs are executed on it; one that was there before still makes the tasks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._before = loop.get_task_factory()
        loop.set_task_factory(self)  # type: ignore[arg-type] # its stub wants a generic function, which an object is not

    def remove(self) -> None:
        """Give the loop back the factory that it had before."""
        self._loop.set_task_factory(self._before)

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any],
        *,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Future[Any]:
        inside = scope.get() if context is None else context.get(scope)
        if not isinstance(inside, Execution) or inside.finished or not inside.function.code.is_async:
            return self._make(loop, coro, context, options)
        task = self._make(loop, _contained(coro), context, options)
        assert isinstance(task, asyncio.Task)
        inside.mailbox.adopt(task)
        return task

    def _make(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any],
        context: Context | None,
        options: dict[str, Any],
    ) -> asyncio.Future[Any]:
        if context is not None:
            options["context"] = context
        if self._before is None:
            return asyncio.Task(coro, loop=loop, **options)
        return self._before(loop, coro, **options)


async def _contained(coro: Coroutine[Any, Any, Any]) -> Any:
    """Await a coroutine of the user; in a task, an exception that ends programs would end the worker."""
    try:
        return await coro
    except (KeyboardInterrupt, SystemExit) as error:
        raise RuntimeError(f"{type(error).__name__} in a task of a run") from error
