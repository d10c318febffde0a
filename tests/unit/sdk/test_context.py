"""What a function is handed besides its steps."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from stream_engine import Context, Engine, Function, RunFailed, SyncContext, testing


class Order(BaseModel):
    id: int


async def load(id: int) -> Order:
    return Order(id=id)


def function(body: Any, **options: Any) -> Function[..., Any]:
    return Engine("app").function("f", **options)(body)


def returned(body: Any, data: Any = None, **options: Any) -> Any:
    return asyncio.run(testing.run(function(body, **options), data))


def test_data_that_is_not_the_model_fails_the_run_at_once() -> None:
    async def f(ctx: Context[Order]) -> int:
        return ctx.event.data.id

    assert returned(f, {"id": 5}) == 5
    with pytest.raises(
        RunFailed, match=r"NonRetriableError: the data of event 'engine/start/f' \(app.events/0/0\) is not"
    ):
        returned(f, {"id": "x"}, retries=4)


def test_the_context_tells_of_its_run() -> None:
    async def f(ctx: Context) -> list[Any]:
        event = ctx.event
        assert ctx.events == [event]
        assert event.ts is not None
        assert (event.topic, event.partition, event.offset) == ("app.events", 0, 0)
        return [event.name, event.data, event.key, ctx.attempt, ctx.replay_id, ctx.app, ctx.run_id.endswith("-0")]

    async def script() -> Any:
        return await testing.run(function(f), {"n": 1}, key="k")

    assert asyncio.run(script()) == ["engine/start/f", {"n": 1}, "k", 0, None, None, True]


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_the_logger_says_nothing_twice(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def f(ctx: Context) -> None:
        ctx.logger.warning("one")
        await ctx.step.run("a", load, 1)
        ctx.logger.warning("two")
        await ctx.step.sleep("b", "1h")
        ctx.logger.warning("three")

    def g(ctx: SyncContext) -> None:
        ctx.logger.warning("one")
        ctx.step.run("a", load, 1)
        ctx.logger.warning("two")
        ctx.step.sleep("b", "1h")
        ctx.logger.warning("three")

    returned(f if kind == "async" else g)
    assert [record.message for record in caplog.records] == ["one", "two", "three"]
    assert {record.function for record in caplog.records} == {"f"}  # type: ignore[attr-defined] # the adapter adds it
    assert {record.name for record in caplog.records} == {__name__}
