"""An app whose functions wait for each other's events, and are cancelled by events."""

import os
from typing import Any

from stream_engine import CancelOn, Context, Engine, Event, Timeouts

engine = Engine(os.environ["BEHAVIOURS_APP"])


@engine.function("buyer", on="race/order")
async def buyer(ctx: Context) -> Any:
    """Wait for what another function sends on account of the same event."""
    paid = await ctx.step.wait_for_event("paid", "race/paid", match="data.number", timeout="2m")
    return None if paid is None else paid.data["number"]


@engine.function("payer", on="race/order")
async def payer(ctx: Context) -> None:
    """Send it at once."""
    await ctx.step.send_event("pay", Event("race/paid", ctx.event.data))


@engine.function("patient", on="patient")
async def patient(ctx: Context) -> Any:
    """Wait for as many events as the event says, one after another."""
    found = []
    for number in range(ctx.event.data["events"]):
        event = await ctx.step.wait_for_event(f"event {number}", "tell/*", match="data.to", timeout="5m")
        found.append(None if event is None else event.data["what"])
    return found


@engine.function("late", on="late")
async def late(ctx: Context) -> Any:
    """Wait for an event that has come while the run slept."""
    await ctx.step.sleep("nap", "3s")
    event = await ctx.step.wait_for_event("event", "late/told", match={"data.to": ctx.event.data["me"]}, timeout="1m")
    return None if event is None else event.data["what"]


@engine.function("impatient", on="impatient")
async def impatient(ctx: Context) -> Any:
    """Wait in vain."""
    return await ctx.step.wait_for_event("never", "never", match="data.to", timeout="1s")


@engine.function("brief", on="brief")
async def brief(ctx: Context) -> Any:
    """Wait for two seconds."""
    event = await ctx.step.wait_for_event("event", "brief/told", match={"data.to": ctx.event.data["me"]}, timeout="2s")
    return None if event is None else event.data["what"]


@engine.function("glance", on="glance")
async def glance(ctx: Context) -> Any:
    """Look whether an event has come while the run slept, and wait for nothing."""
    await ctx.step.sleep("nap", "3s")
    event = await ctx.step.wait_for_event("event", "glance/told", match="data.to", timeout=0)
    return None if event is None else event.data["what"]


@engine.function("creditor", on="bill")
async def creditor(ctx: Context) -> None:
    """Say who has paid, which differs from deploy to deploy."""
    paid = {"number": ctx.event.data["number"], "by": os.environ.get("BEHAVIOURS_PAYS", "nobody")}
    await ctx.step.send_event("pay", Event("bill/paid", paid))


@engine.function("debtor", on="bill")
async def debtor(ctx: Context) -> Any:
    """Wait for that."""
    paid = await ctx.step.wait_for_event("paid", "bill/paid", match="data.number", timeout="5m")
    return None if paid is None else paid.data["by"]


async def mourn(ctx: Context) -> Any:
    """Say which version was given up."""
    return ctx.event.data["version"]


@engine.function(
    "sync",
    on="profile/updated",
    cancel_on=CancelOn("profile/updated", match="data.user"),
    on_cancel=mourn,
    timeouts=Timeouts(finish="5m"),
)
async def sync(ctx: Context) -> Any:
    """Synchronise a profile, after a while in which a newer update may come."""
    await ctx.step.sleep("a while", "4s")
    return ctx.event.data["version"]
