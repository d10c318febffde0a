"""An app whose functions have limits, and write down when they really begin and end."""

import asyncio
import json
import os
import time
from pathlib import Path

from stream_engine import Batch, Concurrency, Context, Debounce, Engine, Priority, RateLimit, Singleton, Throttle

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


@engine.function("left", on="limited", concurrency=Concurrency(2, pool="pair"))
async def left(ctx: Context) -> None:
    """Two at a time of both functions of the pool."""
    await ctx.step.run("take", _take, "pair", "all")


@engine.function("right", on="limited", concurrency=Concurrency(2, pool="pair"))
async def right(ctx: Context) -> None:
    """The other function of the pool."""
    await ctx.step.run("take", _take, "pair", "all")


@engine.function("two-limits", on="limited", concurrency=[Concurrency(1, key="event.data.key"), Concurrency(2)])
async def two_limits(ctx: Context) -> None:
    """One at a time for each key, two of all."""
    await ctx.step.run("take", _take, "two-limits", ctx.event.data["key"])


@engine.function("awake", on="limited", concurrency=Concurrency(1, key="event.data.key", while_waiting="release"))
async def awake(ctx: Context) -> None:
    """One at a time for each key, which others may be while it sleeps."""
    await ctx.step.run("take", _take, "awake", ctx.event.data["key"])
    await ctx.step.sleep("nap", "1s")
    await ctx.step.run("again", _take, "awake", ctx.event.data["key"])


@engine.function(
    "in-turn",
    on="limited",
    concurrency=Concurrency(1, key="event.data.key"),
    priority=Priority("event.data.n % 4 == 0 ? 300 : 0"),
)
async def in_turn(ctx: Context) -> None:
    """One at a time for each key, every fourth event before others."""
    await ctx.step.run("take", _take, "in-turn", ctx.event.data["key"])


@engine.function("four-in-two-seconds", on="limited", throttle=Throttle(3, per="2s", burst=1))
async def four_in_two_seconds(ctx: Context) -> None:
    """Three starts in any two seconds and one more, of all keys."""


@engine.function("skipping", on="limited", singleton=Singleton(key="event.data.key", mode="skip"))
async def skipping(ctx: Context) -> None:
    """One at a time; what comes meanwhile is dropped."""
    await ctx.step.run("take", _take, "skipping", ctx.event.data["key"])


@engine.function("once", on="limited", idempotency="event.data.key")
async def once(ctx: Context) -> None:
    """Once for each key."""


@engine.function("all-of-them", on="limited", debounce=Debounce("1s", key="event.data.key", max_wait="2s", keep="all"))
async def all_of_them(ctx: Context) -> list[int]:
    """All events, once it is quiet, or after two seconds."""
    return [event.data["n"] for event in ctx.events]


@engine.function("small", on="limited", batch=Batch(100, timeout="1s", max_bytes=100, if_="event.data.n % 10 != 0"))
async def small(ctx: Context) -> list[list[int]]:
    """As many as 100 bytes have room for; every tenth alone. With the length of each one's data, as it was sent."""
    return [[event.data["n"], len(json.dumps(event.data))] for event in ctx.events]
