"""An app whose functions get several events at once, and fail while there is a bug."""

import os
from pathlib import Path

from stream_engine import Batch, Context, Debounce, Engine, Retry

FOLDER = Path(os.environ["BEHAVIOURS_GATES"])
BUG = os.environ.get("BEHAVIOURS_BUG") == "1"
engine = Engine(os.environ["BEHAVIOURS_APP"])


def load(numbers: list[int]) -> int:
    """Say what it was called for."""
    with (FOLDER / "loaded").open("a", encoding="utf-8") as file:
        file.write(f"{numbers}\n")
    return sum(numbers)


def judge(total: int) -> bool:
    """Look at whether a sum will do."""
    if BUG and total >= 10:
        raise ValueError("the bug")
    return True


async def _add_up(ctx: Context) -> list[int]:
    numbers = [event.data["n"] for event in ctx.events]
    total = await ctx.step.run("load", load, numbers)
    await ctx.step.run("judge", judge, total)
    return [total, *numbers]


@engine.function("in-batches", on="gathered", batch=Batch(3, timeout="10s"), retries=Retry(0))
async def in_batches(ctx: Context) -> list[int]:
    """Three at a time."""
    return await _add_up(ctx)


@engine.function("all-of-them", on="kept", debounce=Debounce("2s", key="event.data.key", keep="all"), retries=Retry(0))
async def all_of_them(ctx: Context) -> list[int]:
    """All that has come until it is quiet."""
    return await _add_up(ctx)
