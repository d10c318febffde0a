"""An app whose steps send events and start functions by themselves, as any code may."""

import os
from typing import Any

from stream_engine import Context, Engine, Event

engine = Engine(os.environ["BEHAVIOURS_APP"])


@engine.function("work", on="never")
async def work(ctx: Context) -> Any:
    """Be started by others."""
    return [ctx.event.data["n"], ctx.replay_id]


@engine.function("hear", on="told")
async def hear(ctx: Context) -> None:
    """Be sent to."""


def _tell_blocking() -> None:
    engine.send_sync(Event("told", {"n": 1}))


async def _tell() -> None:
    await engine.send(Event("told", {"n": 2}))


async def _have_done() -> Any:
    run = await work.start({"n": 3})
    return await run.result(timeout="1m")


@engine.function("tell", on="tell")
async def tell(ctx: Context) -> Any:
    """Send from within steps, and outside of one."""
    await ctx.step.run("blocking", _tell_blocking)
    await ctx.step.run("async", _tell)
    done = await ctx.step.run("done", _have_done)
    await engine.send(Event("told", {"n": 4}, id=f"last of {ctx.run_id}"))
    return done
