"""Runs that wait for events, rehearsed."""

from typing import Any

from stream_engine import Context, Event
from tests.unit.testing_kit.test_rehearsal import _call, _engine, _rehearsed


async def _waits(ctx: Context) -> Any:
    await ctx.step.send_event("tell", Event("order/told", {"n": 1}, id="order-7"))
    told = await ctx.step.wait_for_event("told", "order/told", match={"data.n": 1}, timeout="1h")
    never = await ctx.step.wait_for_event("never", "order/told", match={"data.n": 1}, timeout="1h")
    return [None if told is None else told.data, never]


def test_waits_are_answered_by_history() -> None:
    async def other(ctx: Context) -> Any:
        await ctx.step.send_event("tell", Event("order/told", {"n": 1}, id="order-7"))
        return await ctx.step.run("told", _call, "told")

    assert _rehearsed(_engine(_waits), _engine(_waits)) == "None"
    assert "kind of step told" in _rehearsed(_engine(_waits), _engine(other))
