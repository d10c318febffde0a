"""The app that the benchmark serves: functions that do nothing but tell when."""

import asyncio
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

import msgspec

from stream_engine.cli.bench.figure import tick
from stream_engine.cli.bench.ground import APP_VARIABLE
from stream_engine.sdk.context import Context
from stream_engine.sdk.engine import Engine

_SLOW_SECONDS = 1.0
_RIDE_SECONDS = 0.5

engine = Engine(os.environ.get(APP_VARIABLE, "bench"))


async def note() -> int:
    """Be a step."""
    return tick()


@engine.function("one-step", on="bench/one")
async def one_step(ctx: Context) -> list[int]:
    """Return when the run began, and when its step did."""
    begun = tick()
    return [begun, await ctx.step.run("only", note)]


@engine.function("five-steps", on="bench/five")
async def five_steps(ctx: Context) -> list[int]:
    """Return when the run began, when each step did, and when the last was recorded."""
    begun = tick()
    steps = [await ctx.step.run(name, note) for name in ("first", "second", "third", "fourth", "fifth")]
    return [begun, *steps, tick()]


@engine.function("slow", on="bench/slow")
async def slow(ctx: Context) -> None:
    """Take a second, in which nothing is computed."""
    await ctx.step.run("wait", asyncio.sleep, _SLOW_SECONDS)


@engine.function("sleeper", on="bench/sleep")
async def sleeper(ctx: Context) -> list[int]:
    """Return until when the run was to sleep, and when it went on; microseconds since the epoch."""
    until = ctx.event.data["until"]
    await ctx.step.sleep_until("night", datetime.fromtimestamp(until / 1_000, UTC))
    return [until * 1_000, time.time_ns() // 1_000]


@engine.function("ping", on="bench/ping")
async def ping(ctx: Context) -> None:
    """Tell the benchmark that the run of an event has begun."""
    _tell(ctx, tick())


@engine.function("ride", on="bench/ride")
async def ride(ctx: Context) -> None:
    """Take half a second in five steps, and tell the benchmark when that was over; the half second is taken off."""
    for name in ("first", "second", "third", "fourth", "fifth"):
        await ctx.step.run(name, asyncio.sleep, _RIDE_SECONDS / 5)
    _tell(ctx, tick() - int(_RIDE_SECONDS * 1e9))


def _tell(ctx: Context, at: int) -> None:
    # The benchmark may have gone, and left events behind.
    with suppress(OSError):
        _telling().sendto(msgspec.json.encode([ctx.event.data["sent"], at]), ctx.event.data["to"])


@cache
def _telling() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
