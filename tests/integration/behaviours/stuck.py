"""An app whose code does not let a worker end: a function that blocks the event loop, or a lifespan that has no end."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from stream_engine import Context, Engine


@asynccontextmanager
async def lifespan(_engine: Engine) -> AsyncIterator[None]:
    """Never end, if the environment says so."""
    yield
    if os.environ.get("STUCK") == "lifespan":
        await asyncio.sleep(3_600)


engine = Engine(os.environ["BEHAVIOURS_APP"], lifespan=lifespan)


@engine.function("block", on="block")
async def block(ctx: Context) -> None:
    """Do what no function should."""
    Path(os.environ["BEHAVIOURS_GATES"], "blocked").touch()  # noqa: ASYNC240 - what this app is about
    time.sleep(3_600)  # noqa: ASYNC251 - what this app is about
