"""Functions that wait for events, and are cancelled by them, in memory."""

import asyncio
import json
from typing import Any

import pytest

from stream_engine import Context, Engine, Event, SyncContext, testing
from stream_engine.testing import Kit

engine = Engine("shop")
_DEEP = json.loads("[" * 700 + "]" * 700)


def _summary(event: Event[Any] | None) -> Any:
    return None if event is None else event.data.get("n")


@engine.function("ship", on="order/placed")
async def ship(ctx: Context) -> Any:
    paid = await ctx.step.wait_for_event("paid", "order/paid", match="data.order_id", timeout="1d")
    return _summary(paid)


@engine.function("twice", on="twice")
async def twice(ctx: Context) -> Any:
    both = await asyncio.gather(
        ctx.step.wait_for_event("left", "order/paid", match={"data.order_id": ctx.event.data["order_id"]}),
        ctx.step.wait_for_event("right", "order/paid", match={"data.order_id": ctx.event.data["order_id"]}),
    )
    third = await ctx.step.wait_for_event("third", "order/*", match="data.order_id", timeout="1h")
    return sorted(map(_summary, both)), _summary(third)


@engine.function("dear", on="dear")
async def dear(ctx: Context) -> Any:
    return _summary(
        await ctx.step.wait_for_event(
            "paid",
            "order/paid",
            if_="event.data.order_id == async_event.data.order_id && async_event.data.n > event.data.n",
        )
    )


@engine.function("plain", on="plain")
def plain(ctx: SyncContext) -> Any:
    return _summary(ctx.step.wait_for_event("any", "order/paid", timeout="1h"))


@engine.function("late", on="late")
async def late(ctx: Context) -> Any:
    await ctx.step.sleep("nap", "2h")
    return _summary(
        await ctx.step.wait_for_event("paid", "order/paid", match="data.order_id", timeout="1s", lookback="3h")
    )


@engine.function("short-memory", on="late")
async def short_memory(ctx: Context) -> Any:
    await ctx.step.sleep("nap", "2h")
    return _summary(
        await ctx.step.wait_for_event("paid", "order/paid", match="data.order_id", timeout="1s", lookback="1h")
    )


def paid(order: int, n: int, **more: Any) -> Event:
    return Event("order/paid", {"order_id": order, "n": n}, **more)


@pytest.fixture
def kit(stream_engine: Kit) -> Kit:
    stream_engine.use(engine)
    return stream_engine


def result(kit: Kit, function: str) -> Any:
    [run] = kit.runs(function)
    assert run.status == "completed", run
    return run.result


def test_a_run_gets_the_event_of_its_value(kit: Kit) -> None:
    kit.send(Event("order/placed", {"order_id": 7}))
    [run] = kit.runs("ship")
    assert (run.status, run.step("paid").kind) == ("waiting", "wait")
    assert run.waiting_on is not None
    assert run.waiting_on.startswith("event order/paid with data.order_id = 7, until 2")
    kit.send([paid(8, 1), paid(7, 2), paid(7, 3)])
    assert result(kit, "ship") == 2


def test_it_gets_none_after_the_timeout(kit: Kit) -> None:
    kit.send(Event("order/placed", {"order_id": 7}))
    kit.advance("1d")
    assert result(kit, "ship") is None
    kit.send(paid(7, 1))
    assert len(kit.runs("ship")) == 1


def test_what_came_before_the_trigger_is_not_seen(kit: Kit) -> None:
    kit.send([Event("order/placed", {"order_id": 7}), paid(7, 1)])
    assert result(kit, "ship") == 1
    kit.advance("1s")
    kit.send(Event("order/placed", {"order_id": 7}))
    kit.advance("1h")
    assert [run.status for run in kit.runs("ship")] == ["completed", "waiting"]


def test_what_came_before_the_wait_is_seen_as_far_back_as_it_looks(kit: Kit) -> None:
    kit.send([Event("late", {"order_id": 7}), paid(7, 1)])
    kit.advance("3h")
    assert result(kit, "late") == 1
    assert result(kit, "short-memory") is None


def test_no_two_waits_of_a_run_get_one_event(kit: Kit) -> None:
    kit.send(Event("twice", {"order_id": 7}))
    kit.send(paid(7, 1))
    assert kit.runs("twice")[0].status == "waiting"
    kit.send([paid(7, 2), paid(7, 3)])
    assert result(kit, "twice") == [[1, 2], 3]


def test_an_event_that_is_sent_twice_is_one(kit: Kit) -> None:
    kit.send(Event("twice", {"order_id": 7}))
    kit.send([paid(7, 1, id="one"), paid(7, 1, id="one"), paid(7, 2)])
    kit.advance("1h")
    assert result(kit, "twice") == [[1, 2], None]


def test_a_condition_has_to_hold(kit: Kit) -> None:
    kit.send(Event("dear", {"order_id": 7, "n": 5}))
    kit.send([paid(7, 4), paid(8, 9), Event("order/paid", {"order_id": 7}), paid(7, 6)])
    assert result(kit, "dear") == 6


def test_plain_functions_wait_for_any_event(kit: Kit) -> None:
    kit.send(Event("plain", {}))
    kit.send(paid(1, 3))
    assert result(kit, "plain") == 3


def test_one_event_is_what_very_many_wait_for(kit: Kit) -> None:
    kit.send([Event("plain", {}) for _ in range(500)])
    kit.send(paid(1, 3))
    assert [run.result for run in kit.runs("plain", "completed")] == [3] * 500


def test_time_does_not_pass_for_ever_while_a_run_waits_for_ever(kit: Kit) -> None:
    kit.send(Event("twice", {"order_id": 7}))
    kit.advance()
    assert kit.runs("twice")[0].status == "waiting"
    kit.send([paid(7, 1), paid(7, 2)])
    kit.advance()
    assert result(kit, "twice") == [[1, 2], None]


@pytest.mark.parametrize(
    ("which", "problem"),
    [
        ({"match": "event.data.x"}, "leave out 'event'"),
        ({"match": "order"}, "give the path of a field"),
        ({"match": {"data.in": 7}}, "step 'w': 'event.data.in': column 12: Syntax error"),
        ({"match": {"data.x": 7, "data" + ".x" * 40: 7}}, "32 levels are allowed"),
        ({"match": "data.missing"}, "there is no field 'missing'"),
        ({"match": {}}, "give at least one path"),
        ({"match": {"data.x": None}}, "compared with None"),
        ({"if_": "async_event.data.ok"}, "needs such an equality"),
        ({"if_": "event.data.x == async_event.data.x || true"}, "needs such an equality"),
        ({"if_": "event.data."}, "Syntax error"),
        ({"if_": "async_event.data.n + 1"}, "a condition is true or false"),
        ({"timeout": "soon"}, "not a duration"),
        ({"match": {f"data.x{n}": "y" * 900 for n in range(20)}}, "at most 16,384 are allowed"),
        ({"match": {"data.x": 7, "data.y": 2**64}}, "step 'w': match: 'data.y': a number as large as float 1.844"),
        ({"match": {"data.x": 7, "data.y": _DEEP}}, "step 'w': "),
        ({"match": {"data.x": -(2**63) - 1}}, "step 'w': match: 'data.x': a number as large as float -9.223"),
        (
            {"match": {"data.x": 7, "data.y": {"a": 1}}},
            "match: 'data.y': a key is text, a number, true or false, or a list",
        ),
        ({"match": "data.x", "if_": f"async_event.data.y == '{'y' * 20_000}'"}, "at most 1000 are allowed"),
        ({"until": "1h"}, "it has match, if_, timeout, lookback"),
    ],
)
def test_what_cannot_work_is_an_error_at_the_call(which: dict[str, Any], problem: str) -> None:
    app = Engine("shop")

    @app.function("f", on="x")
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.wait_for_event("w", "y", **which)
        except RuntimeError as error:
            return str(error)
        return ""

    assert problem in asyncio.run(testing.run(f, {"x": 7}))


@pytest.mark.parametrize("by_value", [True, False])
def test_a_value_that_is_nearly_all_of_an_event_is_compared_to_its_end(stream_engine: Kit, *, by_value: bool) -> None:
    kit, app = stream_engine, Engine("shop")
    large = "x" * 500_000

    @app.function("f", on="go")
    async def f(ctx: Context) -> Any:
        match = {"data.x": large + "!"} if by_value else "data.x"
        return _summary(await ctx.step.wait_for_event("w", "told", match=match, timeout="1h"))

    kit.use(app)
    kit.send(Event("go", {"x": large + "!"}))
    kit.send([Event("told", {"x": large + end, "n": n}) for n, end in enumerate(("?", "", "!"))])
    assert result(kit, "f") == 2


@pytest.mark.parametrize("value", ["x" * 1_100, "a\0b", 2**63, 2**64 - 1, -(2**63), 0.5, True, [1, "a"], "'\"\\"])
@pytest.mark.parametrize("first", [True, False])
def test_each_of_several_values_is_compared(stream_engine: Kit, value: object, *, first: bool) -> None:
    kit, app = stream_engine, Engine("shop")

    @app.function("f", on="go")
    async def f(ctx: Context) -> Any:
        match = {"data.x": value, "data.y": 7} if first else {"data.y": 7, "data.x": value}
        return _summary(await ctx.step.wait_for_event("w", "told", match=match, timeout="1h"))

    kit.use(app)
    kit.send(Event("go", {}))
    others = [{"x": value}, {"y": 7}, {"x": value, "y": 8}, {"x": "other", "y": 7}]
    kit.send([Event("told", data) for data in (*others, {"x": value, "y": 7, "n": 1})])
    assert result(kit, "f") == 1


def test_a_nul_elsewhere_in_an_event_is_of_no_matter_to_a_condition(kit: Kit) -> None:
    kit.send(Event("dear", {"order_id": 1, "n": 2, "note": "a\0b"}))
    kit.send(Event("order/paid", {"order_id": 1, "n": 3, "note": "\0"}))
    assert result(kit, "dear") == 3


def test_very_many_values_and_a_condition_are_compared(stream_engine: Kit) -> None:
    kit, app = stream_engine, Engine("shop")
    values = {f"x{n}": "y" * 90 for n in range(100)}

    @app.function("f", on="go")
    async def f(ctx: Context) -> Any:
        match = {f"data.{name}": value for name, value in values.items()}
        return _summary(
            await ctx.step.wait_for_event("w", "told", match=match, if_="async_event.data.n > event.data.n")
        )

    kit.use(app)
    kit.send(Event("go", {"n": 1}))
    kit.send([Event("told", {**values, "n": 1}), Event("told", {**values, "x99": "y", "n": 2})])
    [waiting] = kit.runs("f", "waiting")
    assert (waiting.waiting_on or "").startswith(f'event told with data.x0 = "{"y" * 78}… and data.x1 = ')
    kit.send(Event("told", {**values, "n": 3}))
    assert result(kit, "f") == 3
