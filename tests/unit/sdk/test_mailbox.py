"""Outcomes are handed to a run with several tasks one at a time, each when its code has settled after the one before."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stream_engine import Context, Engine
from stream_engine.core.records.tables import Step
from stream_engine.sdk.execution import Executor
from tests.scripted import ScriptedTerm, settle, until

Body = Callable[[Context], Awaitable[Any]]


async def nothing() -> None: ...


def app(body: Any) -> Engine:
    engine = Engine("app")
    engine.function("f")(body)
    return engine


def recorded(*ids: str) -> dict[str, Step]:
    return {id: Step("run", "completed", order, 0, 0, 0, result=b"null") for order, id in enumerate(ids)}


@contextmanager
def spinning() -> Iterator[None]:
    """Keep the event loop from ever being idle."""

    async def spin() -> None:
        while True:  # noqa: ASYNC110 - being busy is what it is for
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    try:
        yield
    finally:
        task.cancel()


def shields(link: asyncio.Future[Any], length: int) -> asyncio.Future[Any]:
    for _ in range(length):
        link = asyncio.shield(link)
    return link


def gathers(link: asyncio.Future[Any], length: int) -> asyncio.Future[Any]:
    for _ in range(length):
        link = asyncio.gather(link)
    return link


def tasks(link: asyncio.Future[Any], length: int) -> asyncio.Future[Any]:
    async def follow(link: asyncio.Future[Any]) -> Any:
        return await link

    for _ in range(length):
        link = asyncio.create_task(follow(link))
    return link


def groups(link: asyncio.Future[Any], length: int) -> asyncio.Future[Any]:
    async def follow(link: asyncio.Future[Any], left: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(link, left - 1) if left else asyncio.wait_for(asyncio.shield(link), 60))

    return asyncio.create_task(follow(link, length))


def yields(link: asyncio.Future[Any], length: int) -> asyncio.Future[Any]:
    async def follow() -> None:
        await link
        for _ in range(length):
            await asyncio.sleep(0)

    return asyncio.create_task(follow())


def far_and_near(
    chain: Callable[[asyncio.Future[Any], int], asyncio.Future[Any]], length: int, seen: list[str]
) -> Body:
    """Return a function that sees a step through a chain of futures, and another one directly."""

    async def follow(id: str, step: Awaitable[None]) -> None:
        await step
        seen.append(id)

    async def f(ctx: Context) -> None:
        step = asyncio.create_task(ctx.step.run("far", nothing))
        await asyncio.gather(follow("far", chain(step, length)), follow("near", ctx.step.run("near", nothing)))

    return f


async def live(body: Body) -> None:
    async with Executor(app(body)) as executor:
        term = ScriptedTerm(executor)
        term.execute("f")
        await until(lambda: len(term.waiting()) == 2)
        term.answer("far", "near")
        await until(lambda: term.result)


async def live_on_a_busy_loop(body: Body) -> None:
    with spinning():
        await live(body)


async def again(body: Body) -> None:
    async with Executor(app(body)) as executor:
        term = ScriptedTerm(executor)
        term.execute("f", recorded("far", "near"))
        await until(lambda: term.result)


@pytest.mark.parametrize("execute", [live, live_on_a_busy_loop, again])
@pytest.mark.parametrize("length", [1, 10, 300])
@pytest.mark.parametrize("chain", [shields, gathers, tasks, groups, yields])
def test_the_next_outcome_waits_until_the_last_has_come_through(
    chain: Callable[[asyncio.Future[Any], int], asyncio.Future[Any]],
    length: int,
    execute: Callable[[Body], Coroutine[Any, Any, None]],
) -> None:
    seen: list[str] = []
    asyncio.run(execute(far_and_near(chain, length, seen)))
    assert seen == ["far", "near"]


def test_the_first_of_two_leaves_the_other_though_its_outcome_is_there() -> None:
    """The far one comes first, and the other is cancelled before it is its turn."""

    async def f(ctx: Context) -> list[int]:
        async def far() -> None:
            gathered = asyncio.gather(ctx.step.run("far", nothing))
            await asyncio.wait_for(asyncio.shield(asyncio.gather(asyncio.shield(gathered))), 60)

        async def first() -> list[int]:
            both = [asyncio.create_task(ctx.step.run("near", nothing)), asyncio.create_task(far())]
            done, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            return [both.index(task) for task in done]

        async with asyncio.TaskGroup() as group:
            for id in "abc":
                group.create_task(ctx.step.run(id, nothing))
            indexes = group.create_task(first())
        return indexes.result()

    async def script() -> bytes | None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: len(term.waiting()) == 5)
            term.answer("a", "far", "near", "b", "c")
            await until(lambda: term.result)
            return term.result

    assert asyncio.run(script()) == b"[1]"


def steps_side_by_side(*ids: str) -> Body:
    async def f(ctx: Context) -> None:
        await asyncio.gather(*(ctx.step.run(id, nothing) for id in ids))

    return f


def test_what_else_the_loop_does_keeps_no_outcome_back() -> None:
    """Neither other users of the loop nor other runs are waited for: the run ends within the turns of `settle`."""

    async def spin(ctx: Context) -> None:
        while True:
            await asyncio.gather(asyncio.sleep(0))

    async def script() -> None:
        engine = app(steps_side_by_side("a", "b", "c", "d"))
        engine.function("spin")(spin)
        async with Executor(engine) as executor:
            other, term = ScriptedTerm(executor), ScriptedTerm(executor)
            with spinning():
                other.execute("spin")
                term.execute("f", recorded("a", "b", "c", "d"))
                await settle()
                assert term.result == b"null"

    asyncio.run(script())


def test_a_body_that_runs_keeps_no_outcome_back() -> None:
    async def f(ctx: Context) -> None:
        async def spin() -> None:
            while not ended:
                await asyncio.gather(asyncio.sleep(0))

        ended: list[bool] = []

        async def end() -> None:
            await ctx.step.run("b", nothing)
            ended.append(True)

        await asyncio.gather(ctx.step.run("a", spin), end())

    async def script() -> None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            term.answer("b")
            await settle()
            term.answer("a")
            await settle()
            assert term.result == b"null"

    asyncio.run(script())


@pytest.mark.parametrize("turn", [lambda: asyncio.sleep(0), lambda: asyncio.gather(asyncio.sleep(0))])
def test_code_that_polls_gets_its_outcomes(turn: Callable[[], Awaitable[Any]]) -> None:
    async def f(ctx: Context) -> None:
        async def ask() -> None:
            await ctx.step.run("a", nothing)
            ended.append(True)

        ended: list[bool] = []
        asked = asyncio.create_task(ask())
        while not ended:
            await turn()
        await asked

    async def script() -> None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f", recorded("a"))
            await until(lambda: term.result)

    asyncio.run(script())


def test_the_loops_own_call_soon_is_kept_and_given_back() -> None:
    async def script(mine: bool) -> None:
        loop = asyncio.get_running_loop()
        calls: list[Any] = []
        plain = loop.call_soon

        def counting(callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
            calls.append(callback)
            return plain(callback, *args, context=context)

        if mine:
            loop.call_soon = counting  # type: ignore[method-assign,assignment] # what other tools do to a loop
        before = vars(loop).get("call_soon")
        async with Executor(app(steps_side_by_side("a", "b"))) as executor:
            term = ScriptedTerm(executor)
            term.execute("f", recorded("a", "b"))
            await until(lambda: term.result)
        assert vars(loop).get("call_soon") is before
        assert bool(calls) == mine

    asyncio.run(script(mine=True))
    asyncio.run(script(mine=False))


def test_who_takes_the_loops_call_soon_meanwhile_keeps_it() -> None:
    async def script() -> None:
        loop = asyncio.get_running_loop()
        async with Executor(app(steps_side_by_side("a", "b"))) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: len(term.waiting()) == 2)
            term.answer("a")
            taken = loop.call_soon

            def mine(callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
                return taken(callback, *args, context=context)

            loop.call_soon = mine  # type: ignore[method-assign,assignment] # what other tools do to a loop
            await settle()
            term.answer("b")
            await until(lambda: term.result)
            assert vars(loop)["call_soon"] is mine

    asyncio.run(script())
