"""An app that charges, adds up and ships orders. The deployed code adds half of them up wrongly; the fix has another step for that, and for what follows.

The payment service is a folder: a file for each order and idempotency key is a charge, made in one piece, and a second call with the same key is answered with the
first one's. Calls are counted besides.
"""

import os
from pathlib import Path
from typing import Any

from stream_engine import Context, Engine, Event, SyncContext, current_step

FOLDER = Path(os.environ["BEHAVIOURS_GATES"])
FIXED = os.environ.get("BEHAVIOURS_FIXED") == "1"
engine = Engine(os.environ["BEHAVIOURS_APP"])


def write(file: str, line: str) -> None:
    """Add a line to a file, in one piece."""
    with (FOLDER / file).open("a", encoding="utf-8") as opened:
        opened.write(f"{line}\n")


def charge(order: int) -> str:
    """Charge an order: once for each key, however often it is called."""
    key = current_step().idempotency_key
    write("calls", str(order))
    (FOLDER / "charges" / f"{order} {key}").touch()
    return key


def total(order: int) -> int:
    """Add up an order; half of them come out wrong."""
    return -1 if order % 2 else order * 10


def right_total(order: int) -> int:
    """Add up an order."""
    return order * 10


@engine.function("pay", on="order/placed", version="2" if FIXED else "1")
async def pay(ctx: Context) -> Any:
    """Charge, add up, tell."""
    order = ctx.event.data["order"]
    key = await ctx.step.run("charge", charge, order)
    if FIXED:
        amount = await ctx.step.run("total-2", right_total, order)
        await ctx.step.send_event("paid-2", Event("order/paid", {"order": order, "amount": amount}))
    else:
        amount = await ctx.step.run("total", total, order)
        await ctx.step.send_event("paid", Event("order/paid", {"order": order, "amount": amount}))
    return {"key": key, "amount": amount}


@engine.function("ship", on="order/paid")
def ship(ctx: SyncContext) -> Any:
    """Ship what is paid for."""
    order, amount = ctx.event.data["order"], ctx.event.data["amount"]
    ctx.step.run("ship", write, f"shipped-{ctx.replay_id or 'live'}", f"{order} {amount}")
    return amount
