"""The worker in memory for tests that are plain functions: it lives on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from datetime import datetime
from typing import Any, TypeVar

from stream_engine.core.duration import Duration
from stream_engine.core.records.tables import Outgoing
from stream_engine.core.routing.route import DeadLetter
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.events import Event
from stream_engine.testing.harness import Harness
from stream_engine.testing.runs import Run

R = TypeVar("R")


class Kit:
    """The fixture ``stream_engine``: a worker of an app in memory, whose clock only the test moves.

    Its methods block, in tests with and without ``async`` alike. `Function.start_sync` and `Engine.send_sync` work too.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stream-engine-testing", daemon=True)
        self._harness: Harness | None = None
        self._thread.start()

    def use(self, engine: Engine) -> None:
        """Begin to serve an app; `stream_engine_app` does it for all tests that the fixture is overridden for.

        Raises:
            RuntimeError: another app is served already.
        """
        if self._harness is not None:
            raise RuntimeError("stream_engine serves an app already; a test has one")
        self._harness = self._call(_enter(engine))

    @property
    def now(self) -> datetime:
        """The time of the test's clock."""
        return self._serving().now

    @property
    def produced(self) -> list[Outgoing]:
        """What runs have sent to other topics than the app's events."""
        return self._serving().produced

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Messages that are no events, with the reason."""
        return self._serving().dead_letters

    def send(self, events: Event[Any] | Iterable[Event[Any]]) -> list[str]:
        """Send events, and wait until all that follows at once has happened; return their ids."""
        return self._call(self._serving().send(events))

    def complete(self, token: str, data: Any = None) -> str:
        """Complete a callback, and wait until all that follows at once has happened; see `Harness.complete` for what it returns."""
        return self._call(self._serving().complete(token, data))

    def advance(self, duration: Duration | None = None) -> None:
        """Let time pass, and everything happen that falls into it; without a duration, until every run has ended."""
        self._call(self._serving().advance(duration))

    def runs(self, function: str | None = None, status: str | None = None) -> list[Run]:
        """Return the runs so far: all, or those of a function or status."""
        return self._call(_runs(self._serving(), function, status))

    def close(self) -> None:
        """Leave the app, and end the thread."""
        if self._harness is not None:
            self._call(self._harness.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serving(self) -> Harness:
        if self._harness is None:
            raise RuntimeError(
                "stream_engine serves no app yet: call stream_engine.use(engine), "
                "or override the fixture stream_engine_app to return the engine"
            )
        return self._harness

    def _call(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _enter(engine: Engine) -> Harness:
    return await Harness(engine).__aenter__()


async def _runs(harness: Harness, function: str | None, status: str | None) -> list[Run]:
    return harness.runs(function, status)
