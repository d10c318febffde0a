"""Functions invoke each other, and every call comes back."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from stream_engine import (
    Concurrency,
    Context,
    Debounce,
    Engine,
    InvokeError,
    RateLimit,
    RunFailed,
    Singleton,
    StepError,
    SyncContext,
    Timeouts,
)
from stream_engine.testing import Harness, run


class Verdict(BaseModel):
    id: int
    fraud: bool


def app() -> Engine:
    engine = Engine("shop")

    @engine.function("check")
    async def check(ctx: Context) -> Verdict:
        await ctx.step.sleep("think", "1h")
        return Verdict(id=ctx.event.data["id"], fraud=ctx.event.data["id"] % 2 == 1)

    @engine.function("order")
    async def order(ctx: Context) -> str:
        before = await ctx.step.run("before", str.upper, "a")
        verdict = await ctx.step.invoke("fraud", check, data={"id": 7})
        return f"{before} {type(verdict).__name__} {verdict.fraud} {await ctx.step.run('after', str.upper, 'b')}"

    @engine.function("thread")
    def thread(ctx: SyncContext) -> bool:
        return ctx.step.invoke("fraud", check, data={"id": 8}, timeout="2h").fraud

    @engine.function("many")
    async def many(ctx: Context) -> int:
        found = await asyncio.gather(*(ctx.step.invoke("fraud", "check", {"id": n}) for n in range(1_000)))
        return sum(verdict["fraud"] for verdict in found)

    return engine


@pytest.mark.parametrize(("name", "result"), [("order", "A Verdict True B"), ("thread", False), ("many", 500)])
def test_a_call_returns_what_the_function_returns(name: str, result: Any) -> None:
    assert asyncio.run(run(app().find(name, "1"))) == result


def refusals() -> Engine:
    engine = Engine("shop")
    calls: list[int] = []

    @engine.function("fails", retries=0)
    async def fails(ctx: Context) -> None:
        raise ValueError("no good")

    @engine.function("limited", rate_limit=RateLimit(1, per="1h"))
    async def limited(ctx: Context) -> None: ...

    @engine.function("single", singleton=Singleton())
    async def single(ctx: Context) -> None:
        await ctx.step.sleep("long", "1d")

    @engine.function("once", idempotency="event.data.id")
    async def once(ctx: Context) -> int:
        return 7

    @engine.function("sleeps", timeouts=Timeouts(finish="2d"))
    async def sleeps(ctx: Context) -> None:
        await ctx.step.sleep("long", "3d")
        calls.append(1)

    @engine.function("debounced", debounce=Debounce("1h"))
    async def debounced(ctx: Context) -> int:
        return 8

    @engine.function("calls")
    async def calls_(ctx: Context) -> list[str]:
        async def told(id: str, function: str, **how: Any) -> str:
            try:
                return str(await ctx.step.invoke(id, function, {"id": 1}, **how))
            except InvokeError as error:
                return f"{error.reason} {error.type}"

        first = ["fails", "limited", "once", "debounced", "nowhere", "other/app"]
        said = [await told(name, name) for name in first]
        said += [await told("again", "limited"), await told("once-more", "once")]
        said += [await told("slow", "sleeps", timeout="1h"), await told("slower", "sleeps")]
        both = await asyncio.gather(told("one", "single", timeout="1h"), told("two", "single"))
        return [*said, *both]

    return engine


def test_every_refusal_comes_back_with_its_reason() -> None:
    assert asyncio.run(run(refusals().find("calls", "1"))) == [
        "failed ValueError", "None", "7", "8", "no_function InvokeError", "no_function InvokeError",
        "rate_limited InvokeError", "skipped InvokeError",
        "timeout InvokeError", "timeout TimeoutError",
        "timeout InvokeError", "skipped InvokeError",
    ]  # fmt: skip


def test_calls_in_a_circle_end_with_an_error_that_says_so() -> None:
    engine = Engine("shop")

    @engine.function("a")
    async def a(ctx: Context) -> None:
        await ctx.step.invoke("b", "b")

    @engine.function("b")
    async def b(ctx: Context) -> None:
        await ctx.step.invoke("a", "a")

    with pytest.raises(RunFailed, match=r"invokes may be 32 deep, and they go in a circle: .*shop/a > shop/b"):
        asyncio.run(run(a))


def test_a_function_that_is_called_by_who_holds_the_only_slot_shares_it() -> None:
    engine = Engine("shop")
    pool = Concurrency(1, pool="db")

    @engine.function("inner", concurrency=pool)
    async def inner(ctx: Context) -> int:
        return 1

    @engine.function("middle")
    async def middle(ctx: Context) -> int:
        return 1 + await ctx.step.invoke("inner", inner)

    @engine.function("outer", concurrency=pool)
    async def outer(ctx: Context) -> int:
        return 1 + await ctx.step.invoke("middle", middle)

    assert asyncio.run(run(outer)) == 3


def test_a_slot_that_is_released_meanwhile_serves_the_function_that_is_called() -> None:
    engine = Engine("shop")
    pool = Concurrency(1, pool="db", while_waiting="release")

    @engine.function("inner", concurrency=pool)
    async def inner(ctx: Context) -> int:
        await ctx.step.sleep("a moment", "1m")
        return 1

    @engine.function("outer", concurrency=pool)
    async def outer(ctx: Context) -> int:
        return 1 + await ctx.step.invoke("inner", inner)

    assert asyncio.run(run(outer)) == 2


@pytest.mark.parametrize(("detached", "status"), [(False, "cancelled"), (True, "completed")])
def test_what_a_run_has_invoked_is_cancelled_with_it_unless_it_is_detached(*, detached: bool, status: str) -> None:
    async def main() -> None:
        engine = Engine("shop")

        @engine.function("leaf")
        async def leaf(ctx: Context) -> None:
            await ctx.step.sleep("long", "1h")

        @engine.function("inner")
        async def inner(ctx: Context) -> None:
            await ctx.step.invoke("leaf", leaf, detached=detached)

        @engine.function("outer")
        async def outer(ctx: Context) -> None:
            await ctx.step.invoke("inner", inner)

        async with Harness(engine) as harness:
            handle = await outer.start()
            await harness.settle()
            await handle.cancel()
            await harness.advance("2h")
            found = {run.function: run.status for run in harness.runs()}
            assert found == {"outer": "cancelled", "inner": "cancelled", "leaf": status}

    asyncio.run(asyncio.wait_for(main(), 60))


def test_an_error_that_is_not_caught_fails_the_run_at_once() -> None:
    engine = refusals()

    @engine.function("trusts")
    async def trusts(ctx: Context) -> str:
        return str(await ctx.step.invoke("fails", "fails"))

    with pytest.raises(RunFailed, match="ValueError: no good"):
        asyncio.run(run(trusts))
    assert issubclass(InvokeError, StepError)


def test_data_that_is_too_large_for_an_event_is_refused_where_it_is_given() -> None:
    engine = Engine("shop")

    @engine.function("caller", on="order/placed")
    async def caller(ctx: Context) -> None:
        await ctx.step.invoke("big", "callee", {"text": "x" * 600_000})

    @engine.function("callee")
    async def callee(ctx: Context) -> None:
        pass

    with pytest.raises(
        RunFailed, match=r"step 'big': event 'invoke/callee' has 600,011 bytes of JSON; the limit is 524,288"
    ):
        asyncio.run(run(caller))
