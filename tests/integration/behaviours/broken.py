"""A shop whose version 2 cannot add up half of its orders; version 3 adds up in a step of another id. A charge is a file for each order and idempotency key."""

import asyncio
import os
from pathlib import Path
from typing import Any

from stream_engine import Context, Engine, current_step

FOLDER = Path(os.environ["BEHAVIOURS_GATES"])
VERSION = os.environ.get("BEHAVIOURS_VERSION", "1")
engine = Engine(os.environ["BEHAVIOURS_APP"])


async def charge(order: int) -> str:
    """Charge an order: once for each key, however often it is called."""
    key = current_step().idempotency_key
    with (FOLDER / "calls").open("a", encoding="utf-8") as calls:
        calls.write(f"{order}\n")
    (FOLDER / f"charge {order} {key}").touch()
    return key


async def total(order: int) -> int:
    """Add up an order."""
    if VERSION == "2" and order % 2:
        raise ValueError(f"order {order} has a shape that nobody thought of")
    return order * 10


async def right_total(order: int, *, replayed: bool) -> int:
    """Add up an order; in a replay, once somebody opens the gate."""
    while replayed and not (FOLDER / "replayed").exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.02)
    return order * 10


@engine.function("process-order", on="order/placed", version=VERSION, retries=0)
async def process_order(ctx: Context) -> Any:
    """Charge, and add up."""
    order = ctx.event.data["order"]
    await ctx.step.run("charge", charge, order)
    if VERSION == "3":
        return await ctx.step.run("total-2", right_total, order, replayed=ctx.replay_id is not None)
    return await ctx.step.run("total", total, order)
