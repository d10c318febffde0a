"""The app that the benchmark serves: functions that do nothing but tell when.

Times are nanoseconds of the machine's monotonic clock, which all processes of a machine share.
"""

import asyncio
import os
import socket
import time
from datetime import UTC, datetime

import msgspec

from stream_engine.sdk.context import Context
from stream_engine.sdk.engine import Engine

APP_VARIABLE = "STREAM_ENGINE_TEST_BENCH_APP"

_SLOW_SECONDS = 1.0
_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

engine = Engine(os.environ.get(APP_VARIABLE, "bench"))


def tick() -> int:
    """Return the time."""
    return time.monotonic_ns()


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
    sent, port = ctx.event.data["sent"], ctx.event.data["port"]
    _socket.sendto(msgspec.json.encode([sent, tick()]), ("127.0.0.1", port))
