"""Middleware around runs, steps and sends."""

import asyncio
from typing import Any

from stream_engine import Context, Engine, Event, SyncContext, testing
from stream_engine.testing import Harness


class Note:
    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    async def around_run(self, ctx: Any, call: Any) -> Any:
        self._notes.append(f"{self._name} run {ctx.event.name}")
        return [self._name, await call()]

    async def around_step(self, ctx: Any, step: Any, call: Any) -> Any:
        self._notes.append(f"{self._name} step {step.id} {step.attempt} {step.fn.__name__}")
        step.args = (step.args[0] + 1,)
        return await call() * 10

    async def around_send(self, events: list[Event], call: Any) -> Any:
        self._notes.append(f"{self._name} send {[event.name for event in events]}")
        events.append(Event(f"from/{self._name}"))
        return await call()


class OnlySteps:
    async def around_step(self, ctx: Any, step: Any, call: Any) -> Any:
        return await call()


async def same(n: int) -> int:
    return n


def same_in_thread(n: int) -> int:
    return n


def test_the_first_is_the_outermost() -> None:
    notes: list[str] = []
    engine = Engine("app", middleware=[Note("outer", notes), Note("inner", notes), OnlySteps])

    @engine.function("f")
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("a", same, 1) + await ctx.step.run("b", same_in_thread, 2)

    assert asyncio.run(testing.run(f, {})) == ["outer", ["inner", 300 + 400]]
    assert notes == [
        "outer send ['engine/start/f']",
        "inner send ['engine/start/f', 'from/outer']",
        "outer run engine/start/f",
        "inner run engine/start/f",
        "outer step a 0 same",
        "inner step a 0 same",
        "outer step b 0 same_in_thread",
        "inner step b 0 same_in_thread",
    ]


def test_sends_of_steps_are_surrounded_once() -> None:
    notes: list[str] = []
    engine = Engine("app", middleware=[Note("m", notes)])

    @engine.function("f", on="begin")
    def f(ctx: SyncContext) -> list[str]:
        ids = ctx.step.send_event("s", Event("sent"))
        ctx.step.sleep("a", 60)
        return ids

    async def script() -> None:
        async with Harness(engine) as harness:
            await harness.send(Event("begin"))
            await harness.advance()
            [run] = harness.runs("f")
            assert len(run.result[1]) == 2

    asyncio.run(script())
    assert [note for note in notes if "send" in note] == ["m send ['begin']", "m send ['sent']"]


def test_start_returns_the_run_whatever_is_sent_beside_it() -> None:
    engine = Engine("app", middleware=[Note("m", [])])

    @engine.function("f")
    async def f(ctx: Context) -> Any:
        return 1

    async def script() -> Any:
        async with Harness(engine):
            handle = await f.start({})
            return await handle.result()

    assert asyncio.run(script()) == ["m", 1]
