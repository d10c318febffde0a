"""An app whose runs fail together: one that is invoked, the one that invokes it, and its handler."""

import os
from typing import Any

from stream_engine import Context, Engine, Retry, RunFailed

BUG = os.environ.get("BEHAVIOURS_BUG") == "1"
engine = Engine(os.environ["BEHAVIOURS_APP"])


@engine.function("child", retries=Retry(0))
async def child(ctx: Context) -> str:
    """Be invoked."""
    if BUG:
        raise ValueError("the bug")
    return "mended"


async def sorry(ctx: Context, error: RunFailed) -> None:
    """Fail as well."""
    raise ValueError("the handler's bug")


@engine.function("parent", on="family", retries=Retry(0), on_failure=sorry)
async def parent(ctx: Context) -> Any:
    """Invoke the child."""
    return await ctx.step.invoke("child", child, {})
