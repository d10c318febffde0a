"""What bounds the users' code that is in progress at a time: steps' bodies, and threads."""

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stream_engine.core.partition.room import Room


@dataclass(frozen=True)
class Capacity:
    """How much of the users' code is in progress at a time.

    ``steps`` is how many bodies of steps, ``threads`` how many of them that are ``def``, and as many ``def`` functions.
    """

    steps: int = 1_000
    threads: int = 64


class Slots:
    """So many slots, shared among functions as `Room` says; whoever finds none waits. For one event loop.

    Within a function the first to wait is the first to get one; among functions they take turns.
    """

    def __init__(self, places: int, outer: "Slots | None" = None) -> None:
        """With ``outer``, whoever takes a slot takes one there as well."""
        self._room = Room(places)
        self._outer = outer
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def take_now(self, function: str) -> bool:
        """Take a slot for a function, if there is one and nobody waits for it; return whether it was taken."""
        if function in self._waiting or not self._room.has(function):
            return False
        if self._outer is not None and not self._outer.take_now(function):
            return False
        self._room.take(function)
        return True

    async def take(self, function: str) -> None:
        """Take a slot for a function, once it is its turn."""
        if self.take_now(function):
            return
        await self._own(function)
        if self._outer is not None:
            try:
                await self._outer.take(function)
            except BaseException:
                self._give_own(function)
                raise

    def give(self, function: str, thread: Future[Any] | None = None) -> None:
        """Give back a slot of a function; where a thread goes on although nobody waits for it any more, once that ends."""
        if thread is not None and not thread.done():
            loop = asyncio.get_running_loop()

            def ended(_: object) -> None:
                # The loop may have ended before the thread.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self.give, function)

            thread.add_done_callback(ended)
            return
        if self._outer is not None:
            self._outer.give(function)
        self._give_own(function)

    async def _own(self, function: str) -> None:
        if function not in self._waiting and self._room.has(function):
            self._room.take(function)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(function, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_own(function)
            raise

    def _give_own(self, function: str) -> None:
        self._room.give(function)
        while (name := next((name for name in self._waiting if self._room.has(name)), None)) is not None:
            queue = self._waiting.pop(name)
            turn = queue.popleft()
            if queue:
                self._waiting[name] = queue
            if not turn.cancelled():
                self._room.take(name)
                turn.set_result(None)
