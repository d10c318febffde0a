"""An app whose only function runs one at a time; a replayed run waits as long as there is a file."""

import asyncio
import os
from pathlib import Path

from stream_engine import Concurrency, Context, Engine

CLOSED = Path(os.environ["BEHAVIOURS_GATES"]) / "closed"
engine = Engine(os.environ["BEHAVIOURS_APP"])


async def _pass() -> None:
    while CLOSED.exists():  # noqa: ASYNC110 - another process removes the file
        await asyncio.sleep(0.02)


@engine.function("one-by-one", on="come", concurrency=Concurrency(1))
async def one_by_one(ctx: Context) -> int:
    """Take one at a time."""
    if ctx.replay_id is not None:
        await ctx.step.run("pass", _pass)
    return int(ctx.event.data["n"])
