"""The executor's side of the seam: terms, leases, unloading, draining, leaving."""

import asyncio
import contextvars
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from stream_engine import Context, Engine, SyncContext
from stream_engine.core.partition.turn import Release
from stream_engine.core.records.tables import Step
from stream_engine.core.stages.commands import FinishRun, RecordStep
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
        time.sleep(1)


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
    assert record.message.endswith("time.sleep(1)\n")
    assert ("[... 32 calls ...]" in record.message) == (body is deep)


class _Late(asyncio.SelectorEventLoop):
    """A loop on a machine that has other things to do: whatever is to be called later is called much later."""

    def call_later(  # type: ignore[override]  # that the arguments fit is the caller's to know
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_later(delay * 20, callback, *args, context=context)


def test_a_loop_that_only_waits_is_not_called_blocked(caplog: pytest.LogCaptureFixture) -> None:
    async def script() -> None:
        async with Executor(app(nothing_of), stall_after=0.08):
            await asyncio.to_thread(time.sleep, 0.6)

    with caplog.at_level(logging.WARNING), asyncio.Runner(loop_factory=_Late) as runner:
        runner.run(script())
    assert not caplog.records


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
