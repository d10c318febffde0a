"""Two apps of one file: a function of the first one invokes one of the second by its object. The worker of the second knows of no other."""

import asyncio
import os

from stream_engine import Context, Engine

engine = Engine(os.environ["BEHAVIOURS_APP"])
callee = Engine(os.environ["BEHAVIOURS_CALLEE"]) if "BEHAVIOURS_CALLEE" in os.environ else engine


async def mourn(ctx: Context) -> str:
    """Say what was given up."""
    what: str = ctx.event.data["what"]
    return what


@callee.function("child", on_cancel=mourn)
async def child(ctx: Context) -> str:
    """Take as long as one is told."""
    await ctx.step.sleep("nap", ctx.event.data["nap"])
    what: str = ctx.event.data["what"]
    return what


if callee is not engine:

    @engine.function("parent", on="parent")
    async def parent(ctx: Context) -> list[str]:
        """Call it once, and then twice at a time, of which one outlives the call."""
        first = await ctx.step.invoke("first", child, {"nap": "1ms", "what": f"{ctx.run_id} first"})
        kept = ctx.step.invoke("kept", child, {"nap": "6s", "what": "kept"}, detached=True)
        lost = ctx.step.invoke("lost", child, {"nap": "1h", "what": "lost"})
        return [first, *await asyncio.gather(kept, lost)]
