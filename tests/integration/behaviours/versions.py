"""An app whose code changes between deploys: the environment says which versions of a function there are, the current first."""

import asyncio
import os
from pathlib import Path

from stream_engine import Context, Engine

GATES = Path(os.environ["BEHAVIOURS_GATES"])
VERSIONS = os.environ["BEHAVIOURS_VERSIONS"].split()

engine = Engine(os.environ["BEHAVIOURS_APP"])


async def pass_gate(name: str) -> str:
    """Wait until somebody opens a gate."""
    (GATES / f"{name}.reached").touch()
    while not (GATES / name).exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.02)
    return name


def _declare(version: str) -> None:
    @engine.function("deploy", on="deploy", version=version, accepts_new=version == VERSIONS[0])
    async def deploy(ctx: Context) -> str:
        name = await ctx.step.run("gate", pass_gate, ctx.event.data["gate"])
        return f"{name} on version {version}"


for _version in VERSIONS:
    _declare(_version)


@engine.function("other", on="other")
async def other(ctx: Context) -> str:
    """Be there all the time."""
    return ctx.run_id


@engine.function("caller", on="call")
async def caller(ctx: Context) -> str:
    """Call a function that only the newer deploy has."""
    result: str = await ctx.step.invoke("called", "called")
    return result


if "2" in VERSIONS:

    @engine.function("called")
    async def called(ctx: Context) -> str:
        """Be there now."""
        return "called"

    async def mourn(ctx: Context) -> str:
        """Say which one was given up."""
        which: str = ctx.event.data["which"]
        return which

    @engine.function("kept", on="keep", on_cancel=mourn)
    async def kept(ctx: Context) -> None:
        """Go on for ever, where the code is."""
        await ctx.step.sleep("long", "7d")
