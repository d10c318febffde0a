"""An app that charges cards at a payment service: a file with a line for each charge, which refuses a key that it has seen."""

import os
from pathlib import Path
from typing import Any

from stream_engine import Context, Engine, Event, Retry, current_step

FOLDER = Path(os.environ["BEHAVIOURS_GATES"])
BUG = os.environ.get("BEHAVIOURS_BUG") == "1"
engine = Engine(os.environ["BEHAVIOURS_APP"])


def charge(order: int) -> str:
    """Charge an order, once for each key."""
    key = current_step().idempotency_key
    calls = FOLDER / "calls"
    with calls.open("a", encoding="utf-8") as file:
        file.write(f"{order}\n")
    (FOLDER / f"charge-{key}").touch()
    return key


def total(order: int) -> int:
    """Add up an order; half of the orders come out wrong while there is a bug."""
    if BUG and order % 2:
        raise ValueError("the bug")
    return order * 10


@engine.function("pay", on="order/placed", retries=Retry(0))
async def pay(ctx: Context) -> Any:
    """Charge, then add up, then tell."""
    order = ctx.event.data["order"]
    key = await ctx.step.run("charge", charge, order)
    amount = await ctx.step.run("total", total, order)
    await ctx.step.send_event("paid", Event("order/paid", {"order": order, "amount": amount}))
    return {"key": key, "amount": amount}


@engine.function("ship", on="order/paid")
async def ship(ctx: Context) -> Any:
    """Ship what is paid."""
    return ctx.event.data
