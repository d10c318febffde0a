"""An app whose functions have limits, and write down when they really begin and end."""

import asyncio
import os
import time
from pathlib import Path

from stream_engine import Batch, Concurrency, Context, Debounce, Engine, RateLimit, Singleton, Throttle

NOTES = Path(os.environ["BEHAVIOURS_GATES"]) / "notes"
"""A file with a line for each beginning and end: the word, the function, the key, the time in ms, the process."""

engine = Engine(os.environ["BEHAVIOURS_APP"])
_notes = os.open(NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _note(word: str, function: str, key: str) -> None:
    os.write(_notes, f"{word} {function} {key} {time.time_ns() // 1_000_000} {os.getpid()}\n".encode())


async def _take(function: str, key: str) -> None:
    _note("begin", function, key)
    try:
        await asyncio.sleep(0.1)
    finally:
        _note("end", function, key)


@engine.function("two-at-a-time", on="limited", concurrency=Concurrency(2, key="event.data.key"))
async def two_at_a_time(ctx: Context) -> None:
    """Two at a time for each key."""
    await ctx.step.run("take", _take, "two-at-a-time", ctx.event.data["key"])


@engine.function("three-of-all", on="limited", concurrency=Concurrency(3))
async def three_of_all(ctx: Context) -> None:
    """Three at a time, wherever they live."""
    await ctx.step.run("take", _take, "three-of-all", "all")


@engine.function("five-a-second", on="limited", throttle=Throttle(5, per="1s", key="event.data.key"))
async def five_a_second(ctx: Context) -> None:
    """Five starts in any second for each key."""
    await ctx.step.run("take", _take, "five-a-second", ctx.event.data["key"])


@engine.function("three-a-minute", on="limited", rate_limit=RateLimit(3, per="10m", key="event.data.key"))
async def three_a_minute(ctx: Context) -> None:
    """Three in ten minutes for each key; the rest is dropped."""


@engine.function("gathered", on="limited", batch=Batch(7, timeout="1s", key="event.data.key"))
async def gathered(ctx: Context) -> list[int]:
    """Seven at a time, or what has come in a second."""
    return [event.data["n"] for event in ctx.events]


@engine.function("quiet", on="limited", debounce=Debounce("1s", key="event.data.key"))
async def quiet(ctx: Context) -> int:
    """The latest, once it is quiet."""
    return int(ctx.event.data["n"])


@engine.function("alone", on="limited", singleton=Singleton(key="event.data.key", mode="replace"))
async def alone(ctx: Context) -> None:
    """The newest, alone."""
    await ctx.step.run("take", _take, "alone", ctx.event.data["key"])
