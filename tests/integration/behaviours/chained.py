"""An app whose runs send events that others take, some of them behind gates that hold what a replay brings."""

import os

from stream_engine import Batch, Context, Engine, Event, RateLimit

engine = Engine(os.environ["BEHAVIOURS_APP"])


@engine.function("first", on="first")
async def first(ctx: Context) -> None:
    """Send what the others take, as the last thing that it does."""
    await ctx.step.send_event("then", Event("then", ctx.event.data))


@engine.function("second", on="then")
async def second(ctx: Context) -> None:
    """Send what the last one takes."""
    await ctx.step.send_event("last", [Event("last", ctx.event.data), Event("nobody", {})])


@engine.function("third", on="last", rate_limit=RateLimit(1_000, per="1m"))
async def third(ctx: Context) -> None:
    """Be held until what may come before it has come."""


@engine.function("fourth", on="last", batch=Batch(2, timeout="1s"))
async def fourth(ctx: Context) -> int:
    """Be held, and then gathered."""
    return len(ctx.events)
