"""Testing functions without Kafka, in milliseconds, with the engine's own core and a clock that skips sleeps.

The shortest form::

    result = asyncio.run(stream_engine.testing.run(process_order, {"id": 7}))

The pytest fixture ``stream_engine`` (`stream_engine.testing.kit.Kit`) serves a whole app, for what happens over time::

    def test_reminder(stream_engine):
        stream_engine.use(engine)
        stream_engine.send(Event("cart/abandoned", {"id": 7}))
        stream_engine.advance("3d")
        assert [run.status for run in stream_engine.runs("remind")] == ["completed"]

`Harness` is the same for tests that have an event loop.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar, Unpack, overload

from stream_engine.sdk.engine import Engine
from stream_engine.sdk.function import Function, Start
from stream_engine.testing.harness import Harness
from stream_engine.testing.kit import Kit
from stream_engine.testing.runs import Run, Step

__all__ = ["Harness", "Kit", "Run", "Step", "run"]

R = TypeVar("R")


@overload
async def run(function: Function[..., Coroutine[Any, Any, R]], data: Any = None, **how: Unpack[Start]) -> R: ...
@overload
async def run(function: Function[..., R], data: Any = None, **how: Unpack[Start]) -> R: ...
async def run(function: Function[..., Any], data: Any = None, **how: Unpack[Start]) -> Any:
    """Run a function in memory with an event of this data, skipping its sleeps; return what it returned.

    What it sends starts the other functions of its app. ``how`` is as in `Function.start`.

    Raises:
        RunFailed: it failed.
    """
    engine = function.app
    if not isinstance(engine, Engine):
        engine = Engine("testing")
        engine.include([function])
    async with Harness(engine) as harness:
        handle = await function.start(data, **how)
        try:
            return await handle.result()
        finally:
            # What the run sent, and its handler, still take their course.
            await harness.settle()
