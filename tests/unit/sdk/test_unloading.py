"""Executions that end before their run does, and executions that go on from what is recorded."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

import stream_engine.testing
from stream_engine import Context, Engine, Retry, SyncContext
from stream_engine.core.failure import Failure
from stream_engine.core.instants import LAST_MS
from stream_engine.core.partition.turn import Attempt, Deliver, Release
from stream_engine.core.records.tables import Step
from stream_engine.core.stages.commands import FailStep, RecordStep, Sleep, Suspend
from stream_engine.sdk.execution import Executor
from tests.scripted import RUN, ScriptedTerm, until

T = TypeVar("T")
DONE = Step("sleep", "completed", 0, 0, 0, 0, result=b"null")


async def nothing() -> None: ...


def run(script: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(script)


def app(body: Any, **options: Any) -> Engine:
    engine = Engine("app", **options)
    engine.function("f")(body)
    return engine


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_what_runs_at_the_end_can_call_no_step(kind: str) -> None:
    errors: list[Exception] = []

    async def f(ctx: Context) -> None:
        try:
            await ctx.step.sleep("a", "1h")
        finally:
            try:
                await ctx.step.run("b", nothing)
            except RuntimeError as error:
                errors.append(error)

    def g(ctx: SyncContext) -> None:
        try:
            ctx.step.sleep("a", "1h")
        finally:
            try:
                ctx.step.run("b", nothing)
            except RuntimeError as error:
                errors.append(error)

    async def script() -> None:
        async with Executor(app(f if kind == "async" else g), unload_after=0) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: Suspend(RUN, 0) in term.posted)
            executor.perform(term, [Release(RUN)])
            await until(lambda: errors)

    run(script())
    assert "step 'b': run run-0 is being left; `finally` and `with` can call no step" in str(errors[0])


def test_a_run_that_waits_for_timers_is_unloaded_after_a_while() -> None:
    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.sleep("a", "1h"), ctx.step.run("b", nothing))

    async def script() -> None:
        async with Executor(app(f), unload_after=0.05) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await asyncio.sleep(0.1)
            assert not [command for command in term.posted if isinstance(command, Suspend)]
            term.answer("b")
            await until(lambda: Suspend(RUN, 1) in term.posted)

    run(script())


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_with_and_finally_around_a_long_sleep_are_left_then_and_passed_again_afterwards(kind: str) -> None:
    seen: list[str] = []

    @contextmanager
    def connection() -> Iterator[None]:
        seen.append("open")
        try:
            yield
        finally:
            seen.append("close")

    async def f(ctx: Context) -> None:
        with connection():
            await ctx.step.run("before", seen.append, "before")
            await ctx.step.sleep("night", "8h")
            await ctx.step.run("after", seen.append, "after")

    def g(ctx: SyncContext) -> None:
        with connection():
            ctx.step.run("before", seen.append, "before")
            ctx.step.sleep("night", "8h")
            ctx.step.run("after", seen.append, "after")

    engine = app(f if kind == "async" else g)
    run(stream_engine.testing.run(engine.functions[0], {}))
    assert seen == ["open", "before", "close", "open", "after", "close"]


@pytest.mark.parametrize("begun", ["now", "before"])
def test_a_long_sleep_of_a_single_task_is_no_reason_to_stay(begun: str) -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("a", "1h")

    steps = {"a": Step("sleep", "sleeping", 0, 0, 0, 0, LAST_MS)}

    async def script() -> None:
        async with Executor(app(f), unload_after=1_000) as executor:
            term = ScriptedTerm(executor)
            term.execute("f", steps if begun == "before" else None)
            await until(lambda: Suspend(RUN, 0) in term.posted)

    run(script())


def test_a_retry_that_is_long_in_coming_is_no_reason_to_stay() -> None:
    def failing() -> None:
        raise OSError

    async def f(ctx: Context) -> None:
        await ctx.step.options(retries=Retry(1, base="1h", jitter=False)).run("a", failing)

    async def script() -> None:
        async with Executor(app(f), unload_after=1_000) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: Suspend(RUN, 0) in term.posted)

    run(script())


def test_a_short_sleep_keeps_the_coroutine() -> None:
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("a", "100ms")
        await ctx.step.sleep("b", "100ms")

    async def script() -> None:
        async with Executor(app(f), unload_after=0.2) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await asyncio.sleep(0.15)
            term.answer("a")
            await asyncio.sleep(0.15)
            assert [type(command) for command in term.posted] == [Sleep, Sleep]

    run(script())


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_signal_that_crosses_the_wish_to_be_unloaded_is_not_lost(kind: str) -> None:
    executions: list[int] = []

    async def f(ctx: Context) -> int:
        await ctx.step.sleep("a", "1h")
        return await ctx.step.run("b", lambda: 5)

    def g(ctx: SyncContext) -> int:
        executions.append(1)
        ctx.step.sleep("a", "1h")
        return ctx.step.run("b", lambda: 5)

    async def script() -> None:
        async with Executor(app(f if kind == "async" else g), unload_after=0) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: Suspend(RUN, 0) in term.posted)
            term.answer("a")
            await until(lambda: "b" in term.waiting())
            term.answer("b")
            await until(lambda: term.result)
            assert term.result == b"5"

    run(script())
    assert len(executions) == (0 if kind == "async" else 2)


def test_a_def_function_goes_on_with_what_it_did_before_the_signal() -> None:
    calls: list[str] = []

    def note(what: str) -> str:
        calls.append(what)
        if calls.count("b") == 1 and what == "b":
            raise OSError("once")
        return what

    def g(ctx: SyncContext) -> str:
        return ctx.step.run("a", note, "a") + ctx.step.run("b", note, "b")

    async def script() -> None:
        async with Executor(app(g)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f")
            await until(lambda: "a" in term.waiting())
            term.answer("a")
            await until(lambda: Suspend(RUN, 1) in term.posted)
            assert isinstance(term.posted[1], FailStep)
            executor.perform(term, [Attempt(RUN, "b", 1)])
            await until(lambda: "b" in term.waiting())
            term.answer("b")
            await until(lambda: term.result)
            assert term.result == b'"ab"'

    run(script())
    assert calls == ["a", "b", "b"]


def test_recorded_steps_are_not_done_again_and_pending_ones_wait() -> None:
    calls: list[str] = []

    async def f(ctx: Context) -> list[Any]:
        return [
            await ctx.step.run("done", calls.append, "done"),
            await ctx.step.run("retrying", calls.append, "retrying"),
            await asyncio.gather(ctx.step.sleep("sleeping", "1h")),
        ]

    steps = {
        "sleeping": Step("sleep", "sleeping", 0, 0, 0, 0, 9),
        "retrying": Step("run", "retrying", 0, 2, 0, 0, 9, error=Failure("OSError", "")),
        "done": Step("run", "completed", 0, 0, 0, 0, result=b"1"),
        "removed by a deploy": Step("run", "completed", 1, 0, 0, 0, result=b"2"),
    }

    async def script() -> None:
        async with Executor(app(f)) as executor:
            term = ScriptedTerm(executor)
            term.execute("f", steps)
            # Both come before the code has asked for either.
            executor.perform(term, [Deliver(RUN, "sleeping", DONE), Attempt(RUN, "retrying", 3)])
            await until(lambda: term.posted)
            [posted] = term.posted
            assert isinstance(posted, RecordStep)
            assert (posted.step_id, posted.attempt) == ("retrying", 3)
            term.answer("retrying")
            await until(lambda: term.result)
            assert term.result == b"[1,null,[null]]"

    run(script())
    assert calls == ["retrying"]
