"""Flow control: the classic cases, one function each.

Serve them, and send events from another terminal::

    stream-engine dev topologies/flow.py:engine
    stream-engine send password/forgotten '{"email": "ada@example.com"}' --app flow --wait
    stream-engine runs list --app flow

What decides whether, when and in which order a run starts stands in the decorator; the functions themselves do their work and
know nothing of it. docs/flow-control.md says how the options combine, and what history calls each drop and wait.
"""

import asyncio
from typing import Any

from stream_engine import (
    Batch,
    Concurrency,
    Context,
    Cron,
    Debounce,
    Engine,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
)

engine = Engine("flow")


async def work(what: str) -> str:
    """Stand for whatever takes a moment."""
    await asyncio.sleep(0.05)
    return what


@engine.function("pay-out", on="payout/requested", concurrency=Concurrency(10, key="event.data.merchant_id"))
async def pay_out(ctx: Context) -> str:
    """Ten at a time per merchant: one with a thousand requests delays nobody else."""
    return await ctx.step.run("transfer", work, ctx.event.data["merchant_id"])


@engine.function("sync-crm", on="contact/changed", throttle=Throttle(30, per="1m", key="event.data.account_id"))
async def sync_crm(ctx: Context) -> str:
    """The CRM takes 30 calls a minute per account; the others wait their turn."""
    return await ctx.step.run("push", work, ctx.event.data["contact_id"])


@engine.function("reset-password", on="password/forgotten", rate_limit=RateLimit(1, per="1h", key="event.data.email"))
async def reset_password(ctx: Context) -> str:
    """One mail an hour per address, however often the button is pressed; further events are dropped."""
    return await ctx.step.run("mail", work, ctx.event.data["email"])


@engine.function("reindex", on="webhook/received", debounce=Debounce("2s", key="event.data.page_id", max_wait="30s"))
async def reindex(ctx: Context) -> int:
    """Twelve webhooks within two seconds become one run, with the latest of them."""
    await ctx.step.run("index", work, ctx.event.data["page_id"])
    return int(ctx.event.data["revision"])


@engine.function("load-analytics", on="page/viewed", batch=Batch(100, timeout="10s"))
async def load_analytics(ctx: Context) -> int:
    """A hundred page views in one insert, or what has come within ten seconds."""
    rows = [event.data for event in ctx.events]
    await ctx.step.run("insert", insert, rows)
    return len(rows)


async def insert(rows: list[dict[str, Any]]) -> int:
    """Stand for an insert into a warehouse."""
    await asyncio.sleep(0.05)
    return len(rows)


@engine.function(
    "write-report",
    on=["report/requested", Cron("0 6 * * *", tz="Europe/Berlin", overlap="skip")],
    singleton=Singleton(mode="skip"),
)
async def write_report(ctx: Context) -> str:
    """The report is exclusive: while one is being written, another request is skipped. Every morning it is written anyway."""
    return await ctx.step.run("write", work, "report")


@engine.function(
    "render-video",
    on="video/uploaded",
    concurrency=Concurrency(2),
    priority=Priority("event.data.plan == 'enterprise' ? 120 : 0"),
)
async def render_video(ctx: Context) -> str:
    """Enterprise first: two minutes of head start, so that the others wait longer, and not for ever."""
    return await ctx.step.run("render", work, ctx.event.data["plan"])


@engine.function(
    "sync-order",
    on=["order/placed", "order/paid", "order/shipped"],
    debounce=Debounce("1s", key="event.data.order_id"),
    concurrency=Concurrency(1, key="event.data.order_id"),
)
async def sync_order(ctx: Context) -> str:
    """One function for several events of an order; those that come together are one sync, and two never run side by side."""
    return await ctx.step.run("sync", work, ctx.event.name)
