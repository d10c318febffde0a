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
from stream_engine.sdk.events import Event
from stream_engine.sdk.gathering import Batch, Debounce
from stream_engine.sdk.limits import Concurrency, RateLimit, Throttle

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


@engine.function("called")
async def called(_ctx: Context) -> list[int]:
    """Return at once."""
    return []


@engine.function("caller", on="bench/call")
async def caller(ctx: Context) -> list[int]:
    """Return when another function was called, and when that was answered."""
    begun = tick()
    await ctx.step.invoke("call", called)
    return [begun, tick()]


@engine.function("racer", on="bench/race")
async def racer(ctx: Context) -> list[int]:
    """Wait for what another function sends on account of the same event; return its number."""
    told = await ctx.step.wait_for_event("told", "bench/raced", match="data.key", timeout="1m")
    return [] if told is None else [told.data["key"]]


@engine.function("teller", on="bench/race")
async def teller(ctx: Context) -> list[int]:
    """Send it at once."""
    await ctx.step.send_event("tell", Event("bench/raced", ctx.event.data))
    return []


@engine.function("waiter", on="bench/wait")
async def waiter(ctx: Context) -> list[int]:
    """Return when the event was sent that the run waits for, and when the run went on."""
    told = await ctx.step.wait_for_event("told", "bench/told", match="data.key")
    return [] if told is None else [told.data["sent"], tick()]


@engine.function("asker", on="bench/callback")
async def asker(ctx: Context) -> None:
    """Wait until somebody answers."""
    await ctx.step.callback("answer")


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


@engine.function("riser", on="bench/rise")
async def riser(ctx: Context) -> list[int]:
    """Do five steps once the run has slept; return until when it was to sleep, and when it went on, as `sleeper` does."""
    slept = await sleeper(ctx)
    await five_steps(ctx)
    return slept


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


_KEY = "event.data.key"
_NEVER = 1_000_000


@engine.function("idempotent", on="bench/idempotent", idempotency=_KEY)
async def idempotent(ctx: Context) -> None:
    """Run once for each key."""


@engine.function("debounced", on="bench/debounced", debounce=Debounce("1m", key=_KEY))
async def debounced(ctx: Context) -> None:
    """Run once there are no more events of a key."""


@engine.function("batched", on="bench/batched", batch=Batch(100, timeout="1m", key=_KEY))
async def batched(ctx: Context) -> None:
    """Take a hundred events of a key at once."""


@engine.function("rated", on="bench/rated", rate_limit=RateLimit(1, per="1h", key=_KEY))
async def rated(ctx: Context) -> None:
    """Run once an hour for each key."""


@engine.function("throttled", on="bench/throttled", throttle=Throttle(_NEVER, per="1h", key=_KEY))
async def throttled(ctx: Context) -> None:
    """Run at once, and be counted."""
    await ctx.step.run("only", note)


@engine.function("limited", on="bench/limited", concurrency=Concurrency(_NEVER, key=_KEY))
async def limited(ctx: Context) -> None:
    """Run at once, and hold a slot of the key."""
    await ctx.step.run("only", note)


@engine.function("limited-in-all", on="bench/limited-in-all", concurrency=Concurrency(_NEVER))
async def limited_in_all(ctx: Context) -> None:
    """Run at once, and hold a slot that belongs to another partition."""
    await ctx.step.run("only", note)


@engine.function("keyed", on="bench/keyed", concurrency=Concurrency(1, key=_KEY))
async def keyed(ctx: Context) -> None:
    """Go on one at a time for each key; those that hold up the others go on when they are told to."""
    if ctx.event.data.get("holds"):
        await ctx.step.wait_for_event("go", "bench/go", match={"data.go": True})
        return
    await ctx.step.run("work", asyncio.sleep, 0.05)


def _tell(ctx: Context, at: int) -> None:
    # The benchmark may have gone, and left events behind.
    with suppress(OSError):
        _telling().sendto(msgspec.json.encode([ctx.event.data["sent"], at]), ctx.event.data["to"])


@cache
def _telling() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
