"""What lives as long as the worker: made once before the first run, and let go of after the last."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any


class LifespanTask:
    """Enters and leaves a lifespan in one task, as task groups and cancel scopes inside of it demand."""

    def __init__(self, lifespan: AbstractAsyncContextManager[Any]) -> None:
        self._lifespan = lifespan
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> Any:
        """Return what the lifespan yields; what it raises is raised here."""
        entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(entered), name="lifespan")
        await asyncio.wait({entered, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not entered.done():
            await self._task
            raise RuntimeError("the lifespan ended without yielding")
        return entered.result()

    async def leave(self) -> None:
        """Have the lifespan end; what it raises is raised here."""
        self._leave.set()
        if self._task is not None:
            await self._task

    async def _live(self, entered: asyncio.Future[Any]) -> None:
        async with self._lifespan as app:
            entered.set_result(app)
            await self._leave.wait()
