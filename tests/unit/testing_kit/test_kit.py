"""The testing kit: apps in memory, on a clock that the test moves."""

import asyncio
import time
from datetime import timedelta

import pytest
from pydantic import BaseModel

from stream_engine import Context, Engine, Event, RunFailed, SyncContext, function, testing
from stream_engine.testing import Harness, Kit

# The fixture comes with the package; where that is only on the path, and not installed, pytest does not find it by itself.
from stream_engine.testing.plugin import stream_engine, stream_engine_app

__all__ = ["stream_engine", "stream_engine_app"]


class Cart(BaseModel):
    id: int


def shop() -> Engine:
    engine = Engine("shop")
    engine.event("cart/checked", Cart, key="data.id")

    @engine.function("remind", on="cart/abandoned")
    async def remind(ctx: Context) -> str:
        await ctx.step.sleep("a day", "1d")
        await ctx.step.send_event("tell", Event("cart/reminded", ctx.event.data))
        return "reminded"

    @engine.function("count", on="cart/*")
    def count(ctx: SyncContext) -> str:
        return ctx.event.name

    async def handle(ctx: Context, error: RunFailed) -> list[str]:
        return await ctx.step.run("note", lambda: [error.type, error.message, error.run_id, ctx.event.name])

    @engine.function("fail", on="fail", retries=2, on_failure=handle)
    async def fail(ctx: Context) -> None:
        raise OSError("always")

    return engine


def test_the_shortest_form() -> None:
    engine = shop()
    assert asyncio.run(testing.run(engine.functions[0], {"id": 1})) == "reminded"
    with pytest.raises(RunFailed, match="OSError: always"):
        asyncio.run(testing.run(engine.functions[2]))


def test_a_function_of_no_app_runs_too() -> None:
    async def f(ctx: Context[Cart]) -> Cart:
        return ctx.event.data

    assert asyncio.run(testing.run(function("loose")(f), {"id": 3})) == Cart(id=3)


def test_time_passes_as_the_test_says(stream_engine: Kit) -> None:
    stream_engine.use(shop())
    began = stream_engine.now
    [id] = stream_engine.send(Event("cart/abandoned", {"id": 1}))
    [counted] = stream_engine.runs("count")
    assert (counted.status, counted.result, counted.event_id) == ("completed", "cart/abandoned", id)
    [run] = stream_engine.runs("remind")
    assert (run.status, [step.status for step in run.steps]) == ("sleeping", ["sleeping"])
    stream_engine.advance("23h")
    assert [run.status for run in stream_engine.runs("remind")] == ["sleeping"]
    stream_engine.advance(timedelta(hours=2))
    assert [run.result for run in stream_engine.runs("remind", "completed")] == ["reminded"]
    assert [run.result for run in stream_engine.runs("count")] == ["cart/abandoned", "cart/reminded"]
    assert stream_engine.now - began == timedelta(hours=25)


def test_handlers_run_after_the_last_attempt(stream_engine: Kit) -> None:
    stream_engine.use(shop())
    stream_engine.send(Event("fail"))
    assert [run.status for run in stream_engine.runs("fail")] == ["waiting"]
    stream_engine.advance()
    [failed] = stream_engine.runs("fail")
    [handled] = stream_engine.runs("fail:on_failure")
    assert (failed.status, failed.attempt) == ("failed", 2)
    assert handled.result == ["OSError", "always", failed.run_id, "fail"]


def test_programs_start_functions_in_memory(stream_engine: Kit) -> None:
    engine = shop()
    stream_engine.use(engine)
    remind = engine.functions[0]
    run = remind.start_sync({"id": 1}, delay="1h")
    assert run.status() == "queued"
    with pytest.raises(TimeoutError, match="has not ended within 2h: it is sleeping"):
        run.result(timeout="2h")
    assert run.result(timeout="30d") == "reminded"
    assert engine.send_sync(Event("cart/checked", {"id": 1}))


def test_messages_that_are_no_events_are_dead_letters(stream_engine: Kit) -> None:
    engine = shop()

    @engine.function("foreign", on="foreign")
    async def foreign(ctx: Context) -> None:
        # As a producer would that knows nothing of the model.
        await ctx.step.produce("p", "shop.events", value={"name": "cart/checked", "data": {"id": "x"}})

    stream_engine.use(engine)
    stream_engine.send(Event("foreign"))
    [letter] = stream_engine.dead_letters
    assert letter.rejection.reason == "invalid-data"
    assert "the data of cart/checked is not valid: id: Input should be a valid integer" in letter.rejection.detail


def test_data_that_does_not_fit_is_not_even_sent(stream_engine: Kit) -> None:
    stream_engine.use(shop())
    with pytest.raises(ValueError, match="event 'cart/checked': its data does not fit Cart"):
        stream_engine.send(Event("cart/checked", {"id": "x"}))


def test_a_run_without_end_is_no_result() -> None:
    engine = Engine("app")

    @engine.function("f")
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("long", "365d")

    async def script() -> None:
        async with Harness(engine):
            handle = await f.start()
            with pytest.raises(TimeoutError):
                await handle.result("1h")

    asyncio.run(script())


def test_a_run_takes_milliseconds() -> None:
    engine = shop()
    began = time.perf_counter()
    for _ in range(20):
        asyncio.run(testing.run(engine.functions[0], {"id": 1}))
    # No figure is asserted: only that nobody waits for a clock.
    assert time.perf_counter() - began < 20


def test_an_app_has_to_be_chosen_once(stream_engine: Kit) -> None:
    with pytest.raises(RuntimeError, match=r"serves no app yet: call stream_engine\.use\(engine\), or override"):
        stream_engine.runs()
    stream_engine.use(shop())
    with pytest.raises(RuntimeError, match="serves an app already"):
        stream_engine.use(shop())


class TestOverridden:
    @pytest.fixture
    def stream_engine_app(self) -> Engine:
        return shop()

    def test_the_app_is_served(self, stream_engine: Kit) -> None:
        stream_engine.send(Event("cart/emptied"))
        assert [run.function for run in stream_engine.runs()] == ["count"]
