"""An app in two versions of its code: what the second one changes, `check` is to find. Nothing of the second one may be called."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stream_engine import Batch, Concurrency, Context, Engine, Event, Retry, StepError, SyncContext

FOLDER = Path(os.environ["BEHAVIOURS_GATES"])
CHANGED = frozenset(os.environ.get("BEHAVIOURS_CHANGED", "").split())


@asynccontextmanager
async def _lifespan(engine: Engine) -> AsyncIterator[str]:
    with (FOLDER / "lifespans").open("a") as file:
        file.write("entered\n")
    yield "connection"


engine = Engine(os.environ["BEHAVIOURS_APP"], lifespan=_lifespan)


def changed(what: str) -> bool:
    """Return whether the new code changes something; the deployed code changes nothing."""
    return what in CHANGED


def note(name: str, *_: Any) -> str:
    """Do what can be seen from outside."""
    with (FOLDER / "effects").open("a") as file:
        file.write(f"{name}\n")
    return name


def decline(order: int) -> str:
    """Refuse some orders."""
    note("charge")
    if order % 3 == 0:
        raise ValueError("declined")
    return f"charged {order}"


@engine.function("order", on="order/placed", retries=Retry(0))
async def order(ctx: Context) -> Any:
    """Take an order, in several steps."""
    number = ctx.event.data["order"]
    await ctx.step.run("load", note, "load", ctx.app)
    await ctx.step.sleep("cool-down", "2s" if changed("sleep") else "1s")
    try:
        charged = await ctx.step.run("charge", decline, number)
    except StepError as error:
        charged = error.message
    if changed("step") and number == 4:
        await ctx.step.run("audit", note, "audit")
    total = 11 if changed("event") and number == 5 else 10
    await ctx.step.send_event("tell", Event("order/paid", {"order": number, "total": total}))
    fraud = await ctx.step.invoke("fraud", "fraud", {"order": number})
    return {"charged": charged, "fraud": fraud, "total": number if changed("result") and number == 6 else 0}


@engine.function("fraud")
def fraud(ctx: SyncContext) -> int:
    """Say how bad an order looks."""
    return int(ctx.event.data["order"])


@engine.function("ship", on="order/shipped" if changed("trigger") else "order/paid")
def ship(ctx: SyncContext) -> Any:
    """Ship what is paid."""
    return ctx.step.run("ship", note, "ship")


@engine.function("weigh", on="order/weighed", batch=Batch(3, timeout="1s"))
async def weigh(ctx: Context) -> Any:
    """Add up what orders weigh, three at a time."""
    factor = 2 if changed("batch") else 1
    return factor * sum(event.data["weight"] for event in ctx.events)


@engine.function(
    "bill",
    on="order/billed",
    concurrency=Concurrency(5, key="event.data.country" if changed("gate") else "event.data.customer"),
)
async def bill(ctx: Context) -> Any:
    """Bill, a few at a time."""
    return None


class Billed(BaseModel):
    """What is billed."""

    customer: str
    country: str
    vat: int


if changed("model"):
    engine.event("order/billed", Billed)

if changed("new"):

    @engine.function("thank", on="order/paid")
    async def thank(ctx: Context) -> None:
        """Say thanks."""
