"""The app that the benchmark serves: functions that do nothing but tell when.

Times are nanoseconds of the machine's monotonic clock, which all processes of a machine share.
"""

import os
import time

from stream_engine.sdk.context import Context
from stream_engine.sdk.engine import Engine

APP_VARIABLE = "STREAM_ENGINE_TEST_BENCH_APP"

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
