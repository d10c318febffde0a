"""An app that declares more of its events with a later deploy."""

import os

from pydantic import BaseModel, Field

from stream_engine import Context, Engine

engine = Engine(os.environ["BEHAVIOURS_APP"])


class Order(BaseModel):
    """An order, of at least what the deploy says."""

    total: int = Field(ge=int(os.environ["BEHAVIOURS_LEAST"]))


engine.event("order/placed", Order)


@engine.function("bill", on="order/placed")
async def bill(ctx: Context[Order]) -> int:
    """Bill an order."""
    return ctx.event.data.total


@engine.function("ship", on="order/*")
async def ship(ctx: Context) -> None:
    """Ship an order."""
