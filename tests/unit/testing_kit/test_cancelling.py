"""Runs are cancelled whatever they do, and their handlers run once."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import pytest

from stream_engine import Context, Engine, Event, RunCancelled, SyncContext
from stream_engine.testing import Harness, Kit

P = ParamSpec("P")


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Have a test run on an event loop, for a minute at most."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


def app(began: Callable[[], None] = lambda: None) -> tuple[Engine, list[str]]:
    """An app of functions that take long, each in its way; and what its steps and handlers did."""
    engine = Engine("shop")
    calls: list[str] = []

    async def undo(ctx: Context) -> str:
        await ctx.step.sleep("a moment", "1s")
        await ctx.step.run("undo", calls.append, f"undone {ctx.event.data['id']}")
        return "undone"

    @engine.function("sleeps", on="sleeps", on_cancel=undo)
    async def sleeps(ctx: Context) -> None:
        await ctx.step.run("first", calls.append, "first")
        await ctx.step.sleep("long", "1h")
        await ctx.step.run("last", calls.append, "last")

    @engine.function("works", on="works", on_cancel=undo)
    async def works(ctx: Context) -> None:
        async def work() -> None:
            try:
                began()
                await asyncio.sleep(3_600)
            finally:
                calls.append("stopped")

        await ctx.step.run("work", work)

    @engine.function("fails", on="fails", retries=5, on_cancel=undo)
    async def fails(ctx: Context) -> None:
        raise OSError("not yet")

    return engine, calls


@pytest.mark.parametrize("name", ["sleeps", "fails"])
@on_a_loop
async def test_what_only_waits_ends_at_once(name: str) -> None:
    engine, calls = app()
    async with Harness(engine) as harness:
        handle = await engine.find(name, "1").start({"id": 7})
        await harness.settle()
        await handle.cancel("changed my mind")
        with pytest.raises(RunCancelled, match="changed my mind") as caught:
            await handle.result()
        assert "run.cancel() on" in caught.value.reason
        await harness.advance("2h")
        assert calls == [*(["first"] if name == "sleeps" else []), "undone 7"]
        [run] = harness.runs(name)
        assert run.status == "cancelled"
        [handler] = harness.runs(f"{name}:on_cancel")
        assert (handler.status, handler.result) == ("completed", "undone")


@on_a_loop
async def test_a_run_that_is_delayed_never_begins() -> None:
    engine, calls = app()
    async with Harness(engine) as harness:
        handle = await engine.find("sleeps", "1").start({"id": 7}, delay="1d")
        await harness.settle()
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await handle.result()
        await harness.advance("2d")
        assert calls == ["undone 7"]


@on_a_loop
async def test_a_cancel_that_is_ahead_of_the_event_meets_it() -> None:
    engine, calls = app()
    async with Harness(engine) as harness:
        handle = await engine.find("sleeps", "1").start({"id": 7}, id="order-7", delay="1d")
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await handle.result()
        again = await engine.find("sleeps", "1").start({"id": 7}, id="order-7")
        assert again.run_id == handle.run_id
        await harness.advance("2d")
        assert calls == ["undone 7"]


@on_a_loop
async def test_an_async_step_in_flight_is_interrupted() -> None:
    began = asyncio.Event()
    engine, calls = app(began.set)
    async with Harness(engine) as harness:
        handle = await engine.find("works", "1").start({"id": 7})
        await began.wait()
        await handle.cancel()
        await handle.cancel("again")
        with pytest.raises(RunCancelled) as caught:
            await handle.result()
        assert "again" not in caught.value.reason
        await harness.advance()
        assert calls == ["stopped", "undone 7"]
        [run] = harness.runs("works")
        assert [(step.id, step.status, step.attempt) for step in run.steps] == [("work", "interrupted", 0)]


@on_a_loop
async def test_a_def_step_in_flight_ends_first_and_its_result_is_not_used() -> None:
    engine = Engine("shop")
    began, go_on = threading.Event(), threading.Event()
    after: list[str] = []
    ended: list[str] = []

    def work() -> str:
        began.set()
        assert go_on.wait(30)
        ended.append("work")
        return "done"

    @engine.function("works", on="works")
    def works(ctx: SyncContext) -> None:
        after.append(ctx.step.run("work", work))

    async with Harness(engine) as harness:
        handle = await works.start({})
        assert await asyncio.to_thread(began.wait, 30)
        await handle.cancel()
        go_on.set()
        with pytest.raises(RunCancelled):
            await handle.result()
        assert ended == ["work"]
        await harness.settle()
        [run] = harness.runs("works")
        [step] = run.steps
        assert (run.status, step.status, step.result, after) == ("cancelled", "interrupted", None, [])


@on_a_loop
async def test_a_run_that_has_ended_stays_as_it_is() -> None:
    engine = Engine("shop")

    @engine.function("quick")
    async def quick(ctx: Context) -> int:
        return 7

    async with Harness(engine) as harness:
        handle = await quick.start()
        assert await handle.result() == 7
        await handle.cancel()
        await harness.settle()
        assert await handle.result() == 7


def test_plain_programs_cancel_too(stream_engine: Kit) -> None:
    engine, calls = app()
    stream_engine.use(engine)
    handle = engine.find("sleeps", "1").start_sync({"id": 7})
    handle.cancel()
    with pytest.raises(RunCancelled):
        handle.result()
    stream_engine.send(Event("sleeps", {"id": 8}))
    stream_engine.advance("2h")
    assert calls.count("last") == 1


@on_a_loop
async def test_what_a_run_leaves_behind_when_it_returns_is_interrupted() -> None:
    engine = Engine("shop")

    async def quick() -> str:
        return "first"

    @engine.function("races", on="races")
    async def races(ctx: Context) -> str:
        slow = asyncio.ensure_future(ctx.step.run("slow", asyncio.sleep, 3_600))
        nap = asyncio.ensure_future(ctx.step.sleep("nap", "1d"))
        await asyncio.wait({slow, nap}, timeout=0.05)
        return await ctx.step.run("quick", quick)

    async with Harness(engine) as harness:
        handle = await races.start({})
        assert await handle.result() == "first"
        await harness.settle()
        [run] = harness.runs("races")
        assert {step.id: step.status for step in run.steps} == {
            "slow": "interrupted",
            "nap": "interrupted",
            "quick": "completed",
        }
