"""An app that reads topics of others, whose names the environment says."""

import os
from typing import Any

from pydantic import BaseModel

from stream_engine import Context, Engine, Event

JSON, AVRO, CLOUD = os.environ["BEHAVIOURS_SOURCES"].split()
CHANGED = os.environ.get("BEHAVIOURS_CHANGED", "")

engine = Engine(os.environ["BEHAVIOURS_APP"])
if CHANGED != "source":
    engine.source(JSON, name="order/placed")
engine.source(AVRO, name="greeted", format="avro")
engine.source(CLOUD, format="cloudevents")


class Order(BaseModel):
    """An order."""

    id: int


engine.event("order/placed", Order)


@engine.function("take", on="order/placed")
async def take(ctx: Context[Order]) -> dict[str, Any]:
    """Say what came, and tell."""
    await ctx.step.send_event("tell", Event("order/taken", {"id": ctx.event.data.id}))
    return {"id": ctx.event.data.id, "event": "" if CHANGED == "result" else ctx.event.id, "key": ctx.event.key}


@engine.function("taken", on="order/taken")
async def taken(ctx: Context) -> int:
    """Take what `take` tells."""
    number: int = ctx.event.data["id"]
    return number


@engine.function("expect", on="expect")
async def expect(ctx: Context) -> int | None:
    """Wait for an order, which is a record of others."""
    found = await ctx.step.wait_for_event(
        "order", "order/placed", match={"data.id": ctx.event.data["id"]}, timeout="1m"
    )
    return None if found is None else int(found.data["id"])


@engine.function("greet", on="greeted")
async def greet(ctx: Context) -> Any:
    """Say what came as Avro."""
    return ctx.event.data


@engine.function("cloud", on="cloud/*")
async def cloud(ctx: Context) -> Any:
    """Say what came as a CloudEvent."""
    return {"name": ctx.event.name, "id": ctx.event.id, "data": ctx.event.data}
