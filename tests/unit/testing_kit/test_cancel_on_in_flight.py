"""Events cancel runs whose steps are being executed, and a function may name five of them."""

import asyncio
import threading
from typing import Any

import pytest

from stream_engine import CancelOn, Context, DeclarationError, Engine, Event, RunCancelled, SyncContext
from stream_engine.testing import Harness, Kit
from tests.unit.testing_kit.test_cancelling import on_a_loop

LOST = CancelOn("lost", match="data.id")
FIVE = [CancelOn(f"lost {number}", match="data.id") for number in range(5)]


@on_a_loop
async def test_an_async_step_in_flight_is_interrupted() -> None:
    engine, began, calls = Engine("shop"), asyncio.Event(), list[str]()

    async def work() -> None:
        try:
            began.set()
            await asyncio.sleep(3_600)
        finally:
            calls.append("stopped")

    async def undo(ctx: Context) -> None:
        await ctx.step.run("undo", calls.append, "undone")

    @engine.function("works", on="go", cancel_on=LOST, on_cancel=undo)
    async def works(ctx: Context) -> None:
        await ctx.step.run("work", work)
        calls.append("went on")

    async with Harness(engine) as harness:
        handle = await works.start({"id": 7})
        await began.wait()
        await engine.send([Event("lost", {"id": 7}), Event("lost", {"id": 7})])
        with pytest.raises(RunCancelled, match="event lost"):
            await handle.result()
        await harness.advance("1h")
        assert calls == ["stopped", "undone"]


@on_a_loop
async def test_a_def_step_in_flight_ends_first_and_its_result_is_not_used() -> None:
    engine, began, go_on, calls = Engine("shop"), threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        began.set()
        assert go_on.wait(30)
        calls.append("ended")

    def undo(ctx: SyncContext) -> None:
        ctx.step.run("undo", calls.append, "undone")

    @engine.function("works", on="go", cancel_on=LOST, on_cancel=undo)
    def works(ctx: SyncContext) -> None:
        ctx.step.run("work", work)
        calls.append("went on")

    async with Harness(engine) as harness:
        handle = await works.start({"id": 7})
        assert await asyncio.to_thread(began.wait, 30)
        await engine.send(Event("lost", {"id": 7}))
        go_on.set()
        with pytest.raises(RunCancelled, match="event lost"):
            await handle.result()
        await harness.advance("1h")
        assert calls == ["ended", "undone"]
        [run] = harness.runs("works")
        assert (run.status, run.step("work").status, run.step("work").result) == ("cancelled", "interrupted", None)


@pytest.mark.parametrize("which", [[0], [1], [2], [3], [4], [3, 1, 0, 4, 2]])
def test_each_of_five_events_cancels_and_all_of_them_once(stream_engine: Kit, which: list[int]) -> None:
    engine, calls = Engine("shop"), list[int]()

    async def undo(ctx: Context) -> None:
        await ctx.step.run("undo", calls.append, ctx.event.data["id"])

    @engine.function("waits", on="go", cancel_on=FIVE, on_cancel=undo)
    async def waits(ctx: Context) -> None:
        await ctx.step.sleep("long", "1h")

    stream_engine.use(engine)
    stream_engine.send([Event("go", {"id": id}) for id in (7, 8)])
    stream_engine.send([Event(f"lost {number}", {"id": 7}) for number in which])
    stream_engine.advance("2h")
    assert [run.status for run in stream_engine.runs("waits")] == ["cancelled", "completed"]
    assert calls == [7]


def test_six_are_refused_where_they_are_declared() -> None:
    async def body(ctx: Context) -> Any:
        return None

    Engine("shop").function("f", on="go", cancel_on=FIVE)(body)
    with pytest.raises(DeclarationError, match="cancel_on: there are 6; at most 5 are allowed"):
        Engine("shop").function("f", on="go", cancel_on=[*FIVE, LOST])(body)
