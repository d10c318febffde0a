"""An app that goes wrong in several ways, until it is mended."""

import asyncio
import os
import signal
from pathlib import Path

from pydantic import BaseModel

from stream_engine import Concurrency, Context, Engine

GATES = Path(os.environ["BEHAVIOURS_GATES"])
BUG = os.environ.get("BEHAVIOURS_BUG") == "1"
WITHOUT = os.environ.get("BEHAVIOURS_WITHOUT")

engine = Engine(os.environ["BEHAVIOURS_APP"])


class Return(BaseModel):
    """What is sent back; where there is the bug, nobody may do so without a reason."""

    order: int
    reason: str | None = ... if BUG else None  # type: ignore[assignment]  # how pydantic spells that it has to be there


engine.event("order/returned", Return)


@engine.function("take-back", on="order/returned", retries=0)
async def take_back(ctx: Context[Return]) -> int:
    """Take orders back, but for those that nobody has thought of."""
    if BUG and ctx.event.data.order < 0:
        raise ValueError("a shape that nobody thought of")
    return ctx.event.data.order


@engine.function(
    "pick",
    on="order/placed",
    idempotency="event.data.id",
    concurrency=Concurrency(1, key="event.data.shop.id" if BUG else "event.data.shop"),
)
async def pick(ctx: Context) -> int:
    """Take orders one by one, by their shop."""
    number: int = ctx.event.data["id"]
    return number


@engine.function("count", on="order/placed")
async def count(ctx: Context) -> None:
    """Take the same orders."""


async def pass_gate(name: str) -> str:
    """Wait until somebody opens a gate."""
    (GATES / f"{name}.reached").touch()
    while not (GATES / name).exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.02)
    return name


@engine.function("hold", on="hold", concurrency=Concurrency(1, key="event.data.shop"))
async def hold(ctx: Context) -> str:
    """Hold a key until a gate is open."""
    return await ctx.step.run("gate", pass_gate, ctx.event.data["gate"])


async def kill(ctx: Context) -> str:
    """End the process, as long as that is what it does."""
    if BUG:
        # History has time to be told of it, as it has of whatever ends a process for want of memory.
        await asyncio.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    return "mended"


if WITHOUT != "kill":
    engine.function("kill", on="kill")(kill)
