"""What goes on in a worker after its term, and how it is given back."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from stream_engine import Context, Engine, NonRetriableError, SyncContext
from stream_engine.core.partition.turn import Stop
from stream_engine.core.records.requests import ReturnRun, ReturnStep
from stream_engine.core.records.tables import Step
from stream_engine.core.stages.commands import Interrupted, LendRun, LendStep
from stream_engine.sdk.execution import Executor
from tests.scripted import RUN, ScriptedTerm, settle, until

T = TypeVar("T")
DONE = Step("sleep", "completed", 0, 0, 0, 0, result=b"null")


async def nothing() -> None: ...


def run(script: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(script)


def app(body: Any, **options: Any) -> Engine:
    engine = Engine("app", **options)
    engine.function("f")(body)
    return engine


def test_what_is_running_when_a_term_is_ended_on_purpose_goes_on_and_is_given_back() -> None:
    calls: list[str] = []
    go_on = threading.Event()

    def slow() -> str:
        go_on.wait(10)
        calls.append("slow")
        return "done"

    async def f(ctx: Context) -> None:
        await ctx.step.run("a", slow)
        await ctx.step.run("b", calls.append, "b")

    async def script() -> None:
        async with Executor(app(f), clock=lambda: 7) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            executor.lend(term, 500)
            assert term.posted == [LendStep(RUN, "a", 0, 7, 500)]
            draining = asyncio.create_task(executor.drain(10, asyncio.Event()))
            go_on.set()
            assert await draining
            assert term.returned == [ReturnStep(RUN, "a", 0, 7, b'"done"')]
            assert len(term.posted) == 1

    run(script())
    assert calls == ["slow"]


def test_steps_side_by_side_are_all_given_back_however_they_end() -> None:
    gates = {name: asyncio.Event() for name in ("a", "b")}

    async def wait(name: str) -> str:
        await gates[name].wait()
        if name == "a":
            raise NonRetriableError("no")
        return name

    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("nap", "1h"), *(ctx.step.run(name, wait, name) for name in gates))

    async def script() -> None:
        async with Executor(app(f), clock=lambda: 7) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            executor.lend(term, 500)
            assert term.posted[1:] == [LendStep(RUN, "a", 0, 7, 500), LendStep(RUN, "b", 0, 7, 500)]
            gates["a"].set()
            await until(lambda: term.returned)
            gates["b"].set()
            assert await executor.drain(10, asyncio.Event())
            failed, done = term.returned
            assert isinstance(failed, ReturnStep)
            assert (failed.step_id, failed.result, failed.retry_in) == ("a", None, None)
            assert failed.error is not None
            assert done == ReturnStep(RUN, "b", 0, 7, b'"b"')

    run(script())


@pytest.mark.parametrize("kind", ["async", "def"])
def test_code_outside_of_steps_goes_on_too(kind: str) -> None:
    go_on = threading.Event()

    async def f(ctx: Context) -> str:
        await asyncio.to_thread(go_on.wait, 10)
        return "done"

    def g(ctx: SyncContext) -> str:
        go_on.wait(10)
        return "done"

    async def script() -> None:
        async with Executor(app(f if kind == "async" else g)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            executor.lend(term, 500)
            assert term.posted == [LendRun(RUN, 500)]
            go_on.set()
            assert await executor.drain(10, asyncio.Event())
            assert term.returned == [ReturnRun(RUN, 0, b'"done"')]

    run(script())


@pytest.mark.parametrize("kind", ["async", "def"])
def test_code_that_asks_for_another_step_is_given_back_as_it_is(kind: str) -> None:
    go_on = threading.Event()
    calls: list[str] = []

    async def f(ctx: Context) -> None:
        await asyncio.to_thread(go_on.wait, 10)
        await ctx.step.run("a", calls.append, "a")

    def g(ctx: SyncContext) -> None:
        go_on.wait(10)
        ctx.step.run("a", calls.append, "a")

    async def script() -> None:
        async with Executor(app(f if kind == "async" else g)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            executor.lend(term, 500)
            go_on.set()
            assert await executor.drain(10, asyncio.Event())
            assert term.returned == [ReturnRun(RUN, 0, None)]

    run(script())
    assert calls == []


def test_a_def_function_gives_its_step_back() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        go_on.wait(10)
        return "done"

    def g(ctx: SyncContext) -> None:
        ctx.step.run("a", slow)
        raise AssertionError("the code goes on elsewhere")

    async def script() -> None:
        async with Executor(app(g), clock=lambda: 7) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(begun.is_set)
            executor.lend(term, 500)
            assert term.posted == [LendStep(RUN, "a", 0, 7, 500)]
            go_on.set()
            assert await executor.drain(10, asyncio.Event())
            assert term.returned == [ReturnStep(RUN, "a", 0, 7, b'"done"')]

    run(script())


def test_a_run_that_only_waits_is_left_at_once() -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1s")

    async def script() -> None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            executor.lend(term, 500)
            assert len(term.posted) == 1
            assert await executor.drain(10, asyncio.Event())
            assert term.returned == []

    run(script())


def test_what_does_not_end_in_time_is_given_up() -> None:
    async def forever() -> None:
        await asyncio.sleep(60)

    async def f(ctx: Context) -> None:
        await ctx.step.run("a", forever)

    async def script() -> float:
        async with Executor(app(f), clock=lambda: 7) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            executor.lend(term, 500)
            began = time.monotonic()
            assert not await executor.drain(0.05, asyncio.Event())
            assert term.returned == [ReturnStep(RUN, "a", 0, 7, None)]
            return time.monotonic() - began

    assert run(script()) >= 0.04


def test_what_is_decided_while_a_term_is_being_ended_is_left_to_the_next_leader() -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.run("a", nothing)

    async def script() -> None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            executor.lend(term, 500)
            term.execute("f")
            await settle()
            assert executor.running == 0
            assert term.posted == []

    run(script())


def test_what_is_still_running_of_a_run_that_is_stopped_is_lent_until_it_has_ended() -> None:
    go_on = threading.Event()

    def slow() -> None:
        go_on.wait(10)

    async def quick(ctx: Context) -> None:
        await asyncio.sleep(60)

    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.run("slow", slow), ctx.step.run("quick", quick, ctx))

    async def script() -> None:
        async with Executor(app(f), clock=lambda: 7) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            executor.perform(term, [Stop(RUN)])
            assert term.posted == [Interrupted(RUN, (("slow", 0, 7), ("quick", 0, 7)))]
            await settle()
            executor.lend(term, 500)
            executor.end_term(term)
            assert term.posted[1:] == [LendStep(RUN, "slow", 0, 7, 500), LendStep(RUN, "quick", 0, 7, 500)]
            draining = asyncio.create_task(executor.drain(10, asyncio.Event()))
            await settle()
            assert term.returned == []
            go_on.set()
            assert await draining
            assert sorted(term.returned, key=str) == [
                ReturnStep(RUN, "quick", 0, 7, None),
                ReturnStep(RUN, "slow", 0, 7, None),
            ]
            assert len(term.posted) == 3

    run(script())


def test_code_that_goes_on_although_its_run_is_stopped_is_lent() -> None:
    began, go_on = threading.Event(), threading.Event()

    def f(ctx: SyncContext) -> None:
        began.set()
        go_on.wait(10)

    async def script() -> None:
        async with Executor(app(f), clock=lambda: 7) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(began.is_set)
            executor.perform(term, [Stop(RUN)])
            await settle()
            executor.lend(term, 500)
            assert term.posted == [LendRun(RUN, 500)]
            go_on.set()
            assert await executor.drain(10, asyncio.Event())
            assert term.returned == [ReturnRun(RUN, 0, None)]

    run(script())
