"""Callbacks as functions use them: awaited once, often, side by side or never, in coroutines and in threads."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from stream_engine import Concurrency, Context, Engine, Event, SyncContext
from stream_engine.sdk.errors import StepUsageError
from stream_engine.testing import Harness
from tests.unit.testing_kit.test_cancelling import on_a_loop

Body = Callable[[Context], Any]


def app(body: Any, **options: Any) -> Engine:
    engine = Engine("shop")
    engine.function("ask", on="ask", **options)(body)
    return engine


class Asked:
    """Hands out tokens, as a step does."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def hand_out(self, token: str) -> None:
        self.tokens.append(token)

    def hand_out_in_thread(self, token: str) -> None:
        self.tokens.append(token)


async def ask(harness: Harness, count: int = 1) -> None:
    for _ in range(count):
        await harness.send(Event("ask", {}))


@on_a_loop
async def test_it_may_be_awaited_often_and_by_several_at_once() -> None:
    asked = Asked()

    async def body(ctx: Context) -> Any:
        approval = ctx.step.callback("approve")
        await ctx.step.run("hand out", asked.hand_out, approval.token)
        both = await asyncio.gather(approval, approval.result(), ctx.step.sleep("meanwhile", "1m"))
        return [*both, await approval]

    async with Harness(app(body)) as harness:
        await ask(harness)
        assert await harness.complete(asked.tokens[0], {"ok": True}) == "completed"
        await harness.advance()
        [run] = harness.runs()
        assert run.result == [{"ok": True}, {"ok": True}, None, {"ok": True}]
        assert len(asked.tokens) == 1


@on_a_loop
async def test_who_gives_up_waiting_may_wait_again() -> None:
    asked = Asked()

    async def body(ctx: Context) -> Any:
        approval = ctx.step.callback("approve")
        await ctx.step.run("hand out", asked.hand_out, approval.token)
        waiting = asyncio.ensure_future(approval)
        pause = asyncio.ensure_future(ctx.step.sleep("patience", "1h"))
        await asyncio.wait([waiting, pause], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return [pause.done(), await approval]

    async with Harness(app(body)) as harness:
        await ask(harness)
        await harness.advance("2h")
        assert await harness.complete(asked.tokens[0], 7) == "completed"
        [run] = harness.runs()
        assert run.result == [True, 7]


@on_a_loop
async def test_it_counts_before_it_is_awaited_and_need_not_be() -> None:
    asked = Asked()

    async def body(ctx: Context) -> Any:
        first, second = ctx.step.callback("first"), ctx.step.callback("second")
        for approval in (first, second):
            await ctx.step.run("hand out", asked.hand_out, approval.token)
        await ctx.step.sleep("night", "8h")
        return await first

    async with Harness(app(body)) as harness:
        await ask(harness)
        first, second = asked.tokens
        assert first != second
        assert await harness.complete(first, "early") == "completed"
        assert await harness.complete(first, "late") == "already-completed"
        [run] = harness.runs()
        assert run.status == "sleeping"
        await harness.advance()
        [run] = harness.runs()
        assert (run.status, run.result, run.step("second").status) == ("completed", "early", "interrupted")
        assert await harness.complete(second, 1) == "run-ended"
        assert len(asked.tokens) == 2


@on_a_loop
async def test_nobody_in_time_is_none_and_history_says_so() -> None:
    asked = Asked()

    async def body(ctx: Context) -> Any:
        approval = ctx.step.callback("approve", timeout="2h")
        await ctx.step.run("hand out", asked.hand_out, approval.token)
        answer = await approval
        await ctx.step.sleep("then", "1h")
        return answer

    async with Harness(app(body)) as harness:
        await ask(harness)
        [run] = harness.runs()
        assert run.waiting_on is not None
        assert run.waiting_on.startswith("callback approve, until ")
        await harness.advance("2h")
        assert await harness.complete(asked.tokens[0], 1) == "timed-out"
        await harness.advance()
        [run] = harness.runs()
        assert (run.status, run.result) == ("completed", None)
        step = run.step("approve")
        assert (step.kind, step.status, step.result) == ("callback", "completed", None)
        assert step.error is not None
        assert (step.error.type, step.error.message) == ("TimeoutError", "nobody completed it within 7200 s")


@on_a_loop
async def test_a_thread_waits_by_result_and_holds_no_thread() -> None:
    asked = Asked()

    def body(ctx: SyncContext) -> Any:
        approvals = [ctx.step.callback("approve", timeout="1d") for _ in range(2)]
        for approval in approvals:
            ctx.step.run("hand out", asked.hand_out_in_thread, approval.token)
        return [approval.result() for approval in approvals] + [approvals[0].result()]

    async with Harness(app(body)) as harness:
        await ask(harness, 20)
        assert len(asked.tokens) == 40
        for number, token in enumerate(asked.tokens):
            assert await harness.complete(token, number) == "completed"
        assert sorted(run.result for run in harness.runs()) == [[n, n + 1, n] for n in range(0, 40, 2)]


@on_a_loop
async def test_a_slot_is_released_while_somebody_is_waited_for() -> None:
    asked = Asked()

    async def body(ctx: Context) -> Any:
        approval = ctx.step.callback("approve")
        await ctx.step.run("hand out", asked.hand_out, approval.token)
        return await approval

    for while_waiting, begun in (("hold", 1), ("release", 3)):
        asked.tokens.clear()
        limit = Concurrency(1, while_waiting=while_waiting)  # type: ignore[arg-type] # one word after the other
        async with Harness(app(body, concurrency=limit)) as harness:
            await ask(harness, 3)
            assert len(asked.tokens) == begun
            while not all(run.status == "completed" for run in harness.runs()):
                await harness.complete(asked.tokens.pop(0), True)


@on_a_loop
async def test_a_run_that_is_cancelled_waits_no_longer() -> None:
    asked = Asked()

    async def body(ctx: Context) -> Any:
        approval = ctx.step.callback("approve")
        await ctx.step.run("hand out", asked.hand_out, approval.token)
        return await approval

    engine = app(body)
    async with Harness(engine) as harness:
        handle = await engine.functions[0].start({})
        await harness.settle()
        await handle.cancel()
        await harness.settle()
        assert [run.status for run in harness.runs()] == ["cancelled"]
        assert await harness.complete(asked.tokens[0], 1) == "run-ended"


@on_a_loop
async def test_what_is_no_duration_or_no_id_is_said_at_once() -> None:
    said: list[str] = []

    async def body(ctx: Context) -> None:
        for id, timeout in (("approve", "soon"), ("", "1d")):
            try:
                await ctx.step.callback(id, timeout=timeout)
            except StepUsageError as error:
                said.append(str(error))

    async with Harness(app(body)) as harness:
        await ask(harness)
        assert [run.status for run in harness.runs()] == ["completed"]
    assert said[0].startswith("step 'approve': ")
    assert said[1].startswith("step ''")


@on_a_loop
async def test_the_token_is_not_shown_and_what_the_code_says_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked()

    async def body(ctx: Context) -> Any:
        approval = ctx.step.callback("approve")
        await ctx.step.run("hand out", asked.hand_out, approval.token)
        ctx.logger.info("waiting for %r", approval)
        return await approval

    caplog.set_level(logging.DEBUG)
    async with Harness(app(body)) as harness:
        await ask(harness)
        await harness.complete(asked.tokens[0], 1)
        assert [run.result for run in harness.runs()] == [1]
    assert asked.tokens[0] not in caplog.text
    assert caplog.text.count("waiting for Callback('approve')") == 1
