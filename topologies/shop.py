"""An online shop: orders come in as events, and each becomes a run that survives crashes.

Serve it, and send it an order from another terminal::

    stream-engine dev topologies/shop.py:engine
    stream-engine send order/placed '{"order_id": "1001", "email": "ada@example.com", "amount": 4200}' --wait

``process-order`` loads an order and checks it for fraud at the same time, charges the card through a gateway that often
fails, tells the customer, and announces that the order is settled. Two functions wait for that: ``remind`` sleeps before
it asks for a review, and ``send-receipt`` is a plain job. ``bash topologies/demo.sh`` shows all of it, with a kill -9.
"""

import asyncio
import os
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, Field

from stream_engine import Context, CurrentStep, Engine, Event, NonRetriableError, Retry, SyncContext, current_step


class Order(BaseModel):
    """What the web shop says of an order; ``amount`` is in cents."""

    order_id: str
    email: str
    amount: int = Field(gt=0)


class Charge(BaseModel):
    """What the payment gateway answers."""

    id: str
    amount: int


class GatewayError(Exception):
    """The payment gateway did not answer."""


class Audit:
    """Middleware: a line in a file for each step whose body is really executed; the demo looks there for repeats."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def around_step(self, ctx: Context[Any], step: CurrentStep, call: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG002 - the signature of middleware
        """Write the line, and go on."""
        os.write(self._file, f"{step.run_id} {step.id} {step.attempt}\n".encode())
        return await call()


_audit_file = os.environ.get("SHOP_AUDIT")
engine = Engine("shop", middleware=[Audit(_audit_file)] if _audit_file else [])
engine.event("order/placed", Order, key="data.order_id")


async def load(order_id: str) -> str:
    """Look up in the shop's database which warehouse has what was ordered."""
    await asyncio.sleep(0.02)
    return "north" if zlib.crc32(order_id.encode()) % 2 else "south"


def fraud_score(amount: int) -> float:
    """Score an order from 0 (trusted) to 1. A step may be a plain function: it is called in a thread."""
    return min(amount / 1_000_000, 1.0)


async def charge(order: Order) -> Charge:
    """Charge the card.

    This gateway fails three times in ten, the same orders at the same attempts each time. A real one takes the
    idempotency key too, and charges nothing when it sees a key again.
    """
    step = current_step()
    await asyncio.sleep(0.05)
    if zlib.crc32(f"{order.order_id} {step.attempt}".encode()) % 10 < 3:
        raise GatewayError("503 Service Unavailable")
    return Charge(id=f"ch_{step.idempotency_key[:12]}", amount=order.amount)


async def notify(email: str, charge_id: str) -> None:
    """Write to the customer."""


async def apologise(ctx: Context[Order], error: Exception) -> None:
    """What happens when `process_order` has failed for good; a handler is a run of its own, and may have steps."""
    declined = Event("order/declined", {"order_id": ctx.event.data.order_id, "why": str(error)})
    await ctx.step.send_event("declined", declined)


@engine.function("process-order", on="order/placed", on_failure=apologise)
async def process_order(ctx: Context[Order]) -> dict[str, str]:
    """Take an order from its event to the settled payment."""
    order = ctx.event.data
    warehouse, score = await asyncio.gather(
        ctx.step.run("load", load, order.order_id),
        ctx.step.run("fraud-check", fraud_score, order.amount),
    )
    if score > 0.9:
        raise NonRetriableError(f"order {order.order_id} looks like fraud ({score:.2f})")
    gateway = ctx.step.options(timeout="30s", retries=Retry(8, base="200ms", max="5s", on=(GatewayError,)))
    paid = await gateway.run("charge", charge, order)
    await ctx.step.run("notify", notify, order.email, paid.id)
    settled = {"order_id": order.order_id, "charge": paid.id, "warehouse": warehouse}
    await ctx.step.send_event("settled", Event("order/settled", settled))
    return settled


@engine.function("remind", on="order/settled")
async def remind(ctx: Context) -> str:
    """Ask for a review a while after the payment; the sleep outlives the worker."""
    await ctx.step.sleep("a-while", "3s")
    return f"asked for a review of {ctx.event.data['order_id']}"


@engine.function("send-receipt", on="order/settled", retries=10)
def send_receipt(ctx: SyncContext) -> None:
    """A plain job: a body without steps, retried as a whole."""
    ctx.logger.info("receipt for order %s", ctx.event.data["order_id"])
