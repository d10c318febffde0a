"""Whoever started a run whose event another run has, or makes superfluous, is told so, and does not wait for ever."""

import asyncio
from typing import Any

import pytest

from stream_engine import Batch, Context, Debounce, Engine, RunCancelled
from stream_engine.testing.harness import Harness


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
