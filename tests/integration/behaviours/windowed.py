"""An app whose functions gather and drop by windows of time."""

import os

from stream_engine import Batch, Context, Debounce, Engine, RateLimit

engine = Engine(os.environ["BEHAVIOURS_APP"])


@engine.function("in-batches", on="windowed", batch=Batch(3, timeout="300ms", key="event.data.key"))
async def in_batches(ctx: Context) -> list[int]:
    """Three at a time, or what has come in 300 ms."""
    return [event.data["n"] for event in ctx.events]


@engine.function("when-quiet", on="windowed", debounce=Debounce("300ms", key="event.data.key", max_wait="700ms"))
async def when_quiet(ctx: Context) -> list[int]:
    """The newest, once nothing newer has come for 300 ms."""
    return [event.data["n"] for event in ctx.events]


@engine.function("seldom", on="windowed", rate_limit=RateLimit(2, per="500ms", key="event.data.key"))
async def seldom(ctx: Context) -> list[int]:
    """Two in any 500 ms."""
    return [event.data["n"] for event in ctx.events]
