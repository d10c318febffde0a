"""Whoever started a run whose event another run has, or makes superfluous, is told so, and does not wait for ever."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from stream_engine import (
    Batch,
    CancelOn,
    Context,
    Debounce,
    Engine,
    Event,
    Function,
    RunCancelled,
    RunHandle,
    SharedRunError,
)
from stream_engine.testing.harness import Harness
from tests.unit.testing_kit.test_cancelling import on_a_loop


async def _outcomes(engine: Engine, count: int) -> list[Any]:
    async with Harness(engine):
        runs = [await engine.find("gathers", "1").start({"i": number}) for number in range(count)]
        return await asyncio.gather(*(run.result(timeout="1h") for run in runs), return_exceptions=True)


@pytest.mark.parametrize(
    ("options", "says", "result"),
    [
        ({"debounce": Debounce("2s")}, "coalesced", [2]),
        ({"debounce": Debounce("2s", keep="all")}, "coalesced", [0, 1, 2]),
        ({"batch": Batch(3, timeout="1m")}, "batched", [0, 1, 2]),
        ({"idempotency": "event.name"}, "duplicate", [0]),
    ],
)
def test_the_handle_of_a_run_that_there_will_not_be_says_so(
    options: dict[str, Any], says: str, result: list[int]
) -> None:
    engine = Engine("shop")

    @engine.function("gathers", on="go", **options)
    async def gathers(ctx: Context) -> list[int]:
        return [event.data["i"] for event in ctx.events]

    outcomes = asyncio.run(_outcomes(engine, 3))
    assert [outcome for outcome in outcomes if isinstance(outcome, list)] == [result]
    others = [str(outcome) for outcome in outcomes if isinstance(outcome, RunCancelled)]
    assert len(others) == 2
    assert all(f"its event was {says}" in text for text in others)


gathers = Engine("mall")
_LOST = CancelOn("lost", match="data.i")


@gathers.function("batch", on="go", batch=Batch(4, timeout="1m"), cancel_on=_LOST)
async def batch(ctx: Context) -> list[int]:
    return [event.data["i"] for event in ctx.events]


@gathers.function("kept", on="typed", debounce=Debounce("1m", keep="all"))
async def kept(ctx: Context) -> list[int]:
    return [event.data["i"] for event in ctx.events]


async def _told(handles: list[RunHandle[Any]]) -> list[Any]:
    """Return what the handles are told: a result, or why there is none; and that their statuses fit to it."""
    outcomes = await asyncio.gather(*(handle.result(timeout="1h") for handle in handles), return_exceptions=True)
    statuses = [await handle.status() for handle in handles]
    assert statuses == ["cancelled" if isinstance(one, RunCancelled) else "completed" for one in outcomes]
    return [one.reason if isinstance(one, RunCancelled) else one for one in outcomes]


@on_a_loop
async def test_a_batch_that_is_cancelled_is_cancelled_for_all_who_started_it() -> None:
    async with Harness(gathers) as harness:
        handles = [await batch.start({"i": number}) for number in range(3)]
        await harness.settle()
        await handles[0].cancel("never mind")
        told = await _told(handles)
        assert len(set(told)) == 1
        assert told[0].endswith("never mind")


@on_a_loop
async def test_who_was_taken_out_of_a_batch_is_cancelled_though_the_batch_bears_his_name() -> None:
    async with Harness(gathers) as harness:
        handles = [await batch.start({"i": number}) for number in range(3)]
        await harness.send([Event("lost", {"i": number}) for number in (0, 1)])
        assert [await handle.status() for handle in handles] == ["cancelled", "cancelled", "queued"]
        await handles[0].cancel("of what others have, nothing")
        told = await _told(handles)
        assert ["event lost" in why for why in told[:2]] == [True, True]
        assert told[2] == f"its event is one of several: run {handles[0].run_id} has it"
        [run] = harness.runs("batch", "completed")
        assert run.result == [2]


@on_a_loop
async def test_who_was_the_first_to_come_has_the_batch_that_is_of_an_older_event() -> None:
    async with Harness(gathers) as harness:
        ages = ["2020-01-02", "2020-01-01", "2020-01-03"]
        times = [datetime.fromisoformat(f"{day}T00:00:00+00:00") for day in ages]
        handles = [await batch.start({"i": number}, ts=ts) for number, ts in enumerate(times)]
        await harness.settle()
        first, oldest, other = await _told(handles)
        assert first == [1, 0, 2]
        assert oldest == f"its event is one of several: run {handles[0].run_id} has it"
        assert other == f"its event was batched: run {handles[0].run_id} has it"


@pytest.mark.parametrize("function", [batch, kept], ids=["batch", "kept"])
@on_a_loop
async def test_one_of_several_is_not_cancelled_by_itself(function: Function[..., Any]) -> None:
    async with Harness(gathers) as harness:
        handles = [await function.start({"i": number}) for number in range(3)]
        await harness.settle()
        for handle in handles[1:]:
            with pytest.raises(SharedRunError, match=f"runs cancel {handles[0].run_id}"):
                await handle.cancel()
        told = await _told(handles)
        assert told[0] == [0, 1, 2]
        for handle in handles:
            await handle.cancel("too late, and harmless")
        assert await _told(handles) == told
