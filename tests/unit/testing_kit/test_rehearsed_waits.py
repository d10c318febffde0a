"""Runs that wait for events, rehearsed."""

from typing import Any

import pytest

from stream_engine import Context, Engine, Event
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


def _waiting(**which: Any) -> Engine:
    async def waiting(ctx: Context) -> Any:
        await ctx.step.send_event("tell", Event("order/told", {"n": 1, "m": 1}, id="order-7"))
        name = which.get("name", "order/told")
        told = await ctx.step.wait_for_event("told", name, **{key: which[key] for key in which if key != "name"})
        return told is not None

    return _engine(waiting)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "None"),
        ({"lookback": "1h"}, "None"),
        ({"name": "order/*"}, "awaited event told: was order/told with data.n = 1, would be order/* with data.n = 1"),
        ({"match": {"data.m": 1}}, "awaited event told: was order/told with data.n = 1, would be order/told with data.m = 1"),
        (
            {"if_": "async_event.data.m > 0"},
            "awaited event told: was order/told with data.n = 1, would be order/told with data.n = 1 if async_event.data.m > 0",
        ),
        ({"timeout": "2h"}, "timeout of a wait told: was 3600 s, would be 7200 s"),
        ({"timeout": None}, "timeout of a wait told: was 3600 s, would be none"),
    ],
)  # fmt: skip
def test_what_is_waited_for_and_how_long_is_compared(changed: dict[str, Any], told: str) -> None:
    old: dict[str, Any] = {"match": {"data.n": 1}, "timeout": "1h"}
    assert _rehearsed(_waiting(**old), _waiting(**old | changed)) == told
