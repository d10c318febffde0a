"""The app of the chaos rounds. Whatever a step's body does is a line in a file that only its own process writes.

A line is JSON: the run, the step, the attempt, the idempotency key, the process, the line's number in the file, and when
(milliseconds since the epoch). It is written before anything else, so that a kill can only lose what was not done.
"""

import asyncio
import json
import os
import time
from itertools import count
from pathlib import Path

from stream_engine import Context, Engine, Event, Retry, SyncContext, current_step

APP = os.environ["CHAOS_APP"]
NOTES = Path(os.environ["CHAOS_NOTES"])

engine = Engine(APP)

_file = os.open(NOTES / f"{os.getpid()}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
_numbers = count()
_soon = Retry(6, base="50ms", max="400ms")


def note() -> None:
    """Write down that a step's body begins."""
    step = current_step()
    line = {
        "run": step.run_id,
        "step": step.id,
        "attempt": step.attempt,
        "key": step.idempotency_key,
        "pid": os.getpid(),
        "number": next(_numbers),
        "at": time.time_ns() // 1_000_000,
    }
    os.write(_file, json.dumps(line).encode() + b"\n")


async def work(pause: float = 0.0) -> str:
    """Be a step's body that takes a while."""
    note()
    if pause:
        await asyncio.sleep(pause)
    return current_step().idempotency_key


def toil() -> str:
    """Be a step's body in a thread."""
    note()
    return current_step().idempotency_key


async def stumble(failures: int) -> int:
    """Be a step's body that fails a number of times."""
    note()
    attempt = current_step().attempt
    if attempt < failures:
        raise OSError(f"attempt {attempt} fails")
    return attempt


@engine.function("single", on="load/single")
async def single(ctx: Context) -> int:
    """One step."""
    await ctx.step.run("work", work)
    n: int = ctx.event.data["n"]
    return n


@engine.function("five", on="load/five")
async def five(ctx: Context) -> str:
    """Five steps, two of them side by side, and one that sends an event."""
    first, _ = await asyncio.gather(
        ctx.step.run("left", work, 0.02),
        ctx.step.run("right", toil),
    )
    await ctx.step.run("middle", work, 0.3)
    await ctx.step.send_event("tell", Event("load/echo", {"n": ctx.event.data["n"], "of": ctx.run_id}))
    await ctx.step.run("last", work)
    return first


@engine.function("echo", on="load/echo")
async def echo(ctx: Context) -> str:
    """What a sent event starts."""
    return await ctx.step.run("work", work)


async def mourn(ctx: Context, error: Exception) -> str:
    """Handle a failure, by a step."""
    return f"{await ctx.step.run('mourn', work)} {error}"


@engine.function("flaky", on="load/flaky", retries=_soon, on_failure=mourn)
async def flaky(ctx: Context) -> int:
    """Sleeps, is tried again, and in one run of five fails for good."""
    n = ctx.event.data["n"]
    await ctx.step.run("before", work)
    await ctx.step.sleep("nap", "250ms")
    if n % 3 == 0 and ctx.attempt == 0:
        raise OSError("the body fails once")
    return await ctx.step.run("stumble", stumble, 99 if n % 5 == 0 else n % 3)


@engine.function("blocking", on="load/blocking")
def blocking(ctx: SyncContext) -> str:
    """The same in a thread: a step, a sleep, a step."""
    ctx.step.run("before", toil)
    ctx.step.sleep("nap", "150ms")
    return ctx.step.run("after", toil)


@engine.function("slow", on="load/slow")
async def slow(ctx: Context) -> None:
    """A step that takes long enough to be caught in."""
    await ctx.step.run("long", work, 1.5)
    await ctx.step.run("after", work)
