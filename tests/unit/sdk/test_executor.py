"""The executor's side of the seam: terms, leases, unloading, draining, leaving."""

import asyncio
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import pytest

from stream_engine import Context, Engine, NonRetriableError, SyncContext
from stream_engine.core.commands import FinishRun, LendRun, LendStep, RecordStep
from stream_engine.core.records import ReturnRun, ReturnStep
from stream_engine.core.tables import Step
from stream_engine.core.turn import Release
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


def test_what_is_posted_for_a_run_of_one_step() -> None:
    async def f(ctx: Context) -> dict[str, int]:
        await ctx.step.run("a", nothing)
        return {"n": 1}

    async def script() -> None:
        async with Executor(app(f), clock=lambda: 7) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            assert term.posted == [RecordStep(RUN, "a", 0, 7, b"null")]
            term.answer("a")
            await settle()
            assert term.posted[1:] == [FinishRun(RUN, b'{"n":1}')]
            assert executor.running == 1
            executor.perform_all([(term, [Release(RUN)])])
            assert executor.running == 0

    run(script())


def test_no_body_begins_without_the_lease() -> None:
    begun: list[int] = []

    async def f(ctx: Context) -> None:
        await ctx.step.run("a", begun.append, 1)

    async def script() -> None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.lease = False
            term.execute("f")
            await asyncio.sleep(0.05)
            assert not begun
            term.lease = True
            await until(lambda: term.posted)
            assert begun == [1]

    run(script())


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_the_end_of_a_term_ends_its_runs_silently(kind: str) -> None:
    seen: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("body")

    async def f(ctx: Context) -> None:
        try:
            await ctx.step.run("a", hang)
        finally:
            seen.append("function")

    def g(ctx: SyncContext) -> None:
        try:
            ctx.step.run("a", hang)
        finally:
            seen.append("function")

    async def script() -> None:
        async with Executor(app(f if kind == "async" else g)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: executor.running)
            await asyncio.sleep(0.02)
            executor.end_term(term)
            await until(lambda: len(seen) == 2)
            assert executor.running == 0
            assert not term.posted

    run(script())
    assert seen == ["body", "function"]


def test_tasks_left_behind_wait_for_nothing_once_the_run_has_ended() -> None:
    cancelled = asyncio.Event()

    async def f(ctx: Context) -> int:
        async def watch() -> None:
            try:
                await ctx.step.sleep("a", "1h")
            except asyncio.CancelledError:
                cancelled.set()
                raise

        ctx.app = asyncio.create_task(watch())
        await asyncio.sleep(0)
        return 1

    async def script() -> None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await asyncio.wait_for(cancelled.wait(), 10)
            assert term.result == b"1"

    run(script())


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
            draining = asyncio.create_task(executor.drain(10))
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
            assert await executor.drain(10)
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
            assert await executor.drain(10)
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
            assert await executor.drain(10)
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
            assert await executor.drain(10)
            assert term.returned == [ReturnStep(RUN, "a", 0, 7, b'"done"')]

    run(script())


def test_a_run_that_only_waits_is_left_at_once() -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1h")

    async def script() -> None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            executor.lend(term, 500)
            assert len(term.posted) == 1
            assert await executor.drain(10)
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
            assert not await executor.drain(0.05)
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


def test_the_lifespan_is_entered_once_and_left_in_its_task() -> None:
    tasks: list[Any] = []

    async def lifespan(engine: Engine) -> AsyncIterator[str]:
        tasks.append(asyncio.current_task())
        yield f"app of {engine.name}"
        tasks.append(asyncio.current_task())

    async def f(ctx: Context) -> Any:
        return ctx.app

    async def script() -> None:
        engine = app(f, lifespan=lifespan)
        async with Executor(engine) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: term.result)
            assert term.result == b'"app of app"'
        assert tasks[0] is tasks[1]

    run(script())


def test_a_lifespan_that_fails_stops_the_worker() -> None:
    async def lifespan(engine: Engine) -> AsyncIterator[None]:
        if engine.name:
            raise OSError("no database")
        yield

    async def script() -> None:
        async with Executor(app(nothing_of, lifespan=lifespan)):
            pass

    with pytest.raises(OSError, match="no database"):
        run(script())


async def nothing_of(ctx: Context) -> None: ...


def dig(depth: int) -> None:
    if depth:
        deeper(depth - 1)
    else:
        time.sleep(0.3)


def deeper(depth: int) -> None:
    dig(depth)


async def block(depth: int) -> None:
    dig(depth)


async def in_step(ctx: Context) -> None:
    await ctx.step.run("load", block, 0)


async def in_function(ctx: Context) -> None:
    dig(0)


async def in_task(ctx: Context) -> None:
    await asyncio.create_task(block(0))


async def deep(ctx: Context) -> None:
    await ctx.step.run("load", block, 20)


@pytest.mark.parametrize(
    ("body", "who", "frames"),
    [
        (in_step, "s by step 'load' of run run-0, function 'f'", ["block", "dig"]),
        (in_function, "s by function 'f', run run-0", ["in_function", "dig"]),
        (in_task, "s by code outside of runs", ["block", "dig"]),
        (deep, "s by step 'load' of run run-0, function 'f'", ["block", *["dig", "deeper"] * 4, "dig"]),
    ],
)
def test_code_that_blocks_the_loop_is_named(
    body: Any, who: str, frames: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def script() -> None:
        async with Executor(app(body), stall_after=0.08) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: term.posted)
            await asyncio.sleep(0.2)

    with caplog.at_level(logging.WARNING):
        run(script())
    [record] = caplog.records
    assert who in record.message
    assert re.findall(r"^  File .*, in (\w+)$", record.message, re.MULTILINE) == frames
    assert record.message.count(__file__) == len(frames)
    assert record.message.endswith("time.sleep(0.3)\n")
    assert ("[... 32 calls ...]" in record.message) == (body is deep)


def test_the_loops_own_task_factory_is_kept_and_given_back() -> None:
    made = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **options)

    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.run("a", nothing), ctx.step.run("b", nothing))

    async def script() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await settle()
            assert len(term.waiting()) == 2
            assert len(made) == 2
        assert loop.get_task_factory() is factory

    run(script())
