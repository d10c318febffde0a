"""Whose events a replay passes over: those of the runs that it runs again, of their handlers, and of what they invoke."""

import asyncio

import pytest

from stream_engine import Context, Engine, Event
from stream_engine.core.routing.cause import Cause, cause_of
from stream_engine.core.routing.receive import Message
from stream_engine.core.routing.replay import Extent
from stream_engine.testing import Harness


def test_what_an_invoked_run_sends_is_put_down_to_the_run_that_nobody_invoked() -> None:
    engine = Engine("shop")

    @engine.function("order", on="order/placed")
    async def order(ctx: Context) -> None:
        await ctx.step.send_event("first", Event("order/seen", {}))
        await ctx.step.invoke("ask", middle)

    @engine.function("middle")
    async def middle(ctx: Context) -> None:
        await ctx.step.invoke("ask", last)

    @engine.function("last")
    async def last(ctx: Context) -> None:
        await ctx.step.send_event("told", Event("order/checked", {}))

    taken: list[Message] = []

    async def sent() -> None:
        async with Harness(engine) as harness:
            take = harness._topic.take

            def taking() -> Message:
                taken.append(take())
                return taken[-1]

            harness._topic.take = taking  # type: ignore[method-assign] # the kit shows no headers
            await harness.send(Event("order/placed", {}))
            await harness.advance()

    asyncio.run(sent())
    causes = [cause_of(message.headers) for message in taken]
    assert causes == [None, Cause("order", "shop.events", 0, 0), Cause("order", "shop.events", 0, 0)]
    extent = Extent("r", "shop.events", {0: (0, 1)}, "order")
    assert [extent.passes_over(cause) for cause in causes] == [False, True, True]


@pytest.mark.parametrize(
    ("function", "cause", "passed"),
    [
        (None, Cause("pay", "shop.events", 0, 7), True),
        ("pay", Cause("pay", "shop.events", 0, 7), True),
        ("pay", Cause("pay:on_failure", "shop.events", 0, 7), True),
        ("pay", Cause("ship", "shop.events", 0, 7), False),
        ("pay", Cause("pay", "shop.events", 0, 9), False),
        ("pay", Cause("pay", "shop.events", 1, 7), False),
        ("pay", Cause("pay", "other.events", 0, 7), False),
        (None, None, False),
    ],
)
def test_a_replay_passes_over_what_its_own_runs_have_sent(
    function: str | None, cause: Cause | None, *, passed: bool
) -> None:
    assert Extent("r", "shop.events", {0: (5, 9)}, function).passes_over(cause) is passed
