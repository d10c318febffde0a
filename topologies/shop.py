"""An online shop: orders come in as events, and each becomes a run that survives crashes.

``process-order`` loads an order, checks it for fraud, charges the card through a gateway that often fails, and tells the
customer. ``remind`` waits before it asks for a review. ``send-receipt`` is a plain job. Try them with::

    stream-engine dev topologies/shop.py
"""

import asyncio
import hashlib
import random

from pydantic import BaseModel

from stream_engine import Context, Engine, Event, NonRetriableError, Retry, SyncContext, current_step

engine = Engine("shop")


class Order(BaseModel):
    """What the web shop says of an order; ``amount`` is in cents."""

    order_id: str
    email: str
    amount: int
    items: int = 1


class Charge(BaseModel):
    """What the payment gateway answers."""

    id: str
    amount: int


class GatewayError(Exception):
    """The payment gateway did not answer."""


engine.event("order/placed", Order, key="data.order_id")


async def load(order_id: str) -> dict[str, str]:
    """Look the order up in the shop's database."""
    await asyncio.sleep(0.01)
    return {"order_id": order_id, "warehouse": "north" if order_id.endswith(("0", "2", "4", "6", "8")) else "south"}


def fraud_score(email: str, amount: int) -> float:
    """Score an order from 0 (trusted) to 1; a `def` step runs in a thread."""
    digest = hashlib.sha256(f"{email}{amount}".encode()).digest()
    return digest[0] / 255


async def charge(amount: int) -> Charge:
    """Charge the card. The gateway recognises the key, so a second call of the same step charges nothing."""
    key = current_step().idempotency_key
    if random.random() < 0.3:
        raise GatewayError("503 from the gateway")
    return Charge(id=f"ch_{key[:12]}", amount=amount)


async def give_up(ctx: Context[Order], error: Exception) -> None:
    """A handler has steps too: tell the customer that the order did not go through."""
    await ctx.step.send_event("declined", Event("order/declined", {"order_id": ctx.event.data.order_id, "why": str(error)}))


@engine.function("process-order", on="order/placed", on_failure=give_up)
async def process_order(ctx: Context[Order]) -> dict[str, str]:
    """Take an order from its event to the settled payment."""
    order = ctx.event.data
    record, score = await asyncio.gather(
        ctx.step.run("load", load, order.order_id),
        ctx.step.run("fraud-check", fraud_score, order.email, order.amount),
    )
    if score > 0.98:
        raise NonRetriableError(f"order {order.order_id} looks like fraud ({score:.2f})")
    gateway = ctx.step.options(timeout="30s", retries=Retry(8, base="200ms", max="5s", on=(GatewayError,)))
    paid = await gateway.run("charge", charge, order.amount)
    await ctx.step.send_event("settled", Event("order/settled", {"order_id": order.order_id, "charge": paid.id}))
    return {"order_id": order.order_id, "charge": paid.id, "warehouse": record["warehouse"]}


@engine.function("remind", on="order/settled")
async def remind(ctx: Context) -> str:
    """Ask for a review a while after the payment; the sleep outlives the worker."""
    await ctx.step.sleep("a-while", "3s")
    return f"asked for a review of {ctx.event.data['order_id']}"


@engine.function("send-receipt", on="order/settled", retries=10)
def send_receipt(ctx: SyncContext) -> None:
    """A plain job: a body without steps, retried as a whole."""
    ctx.logger.info("receipt for %s", ctx.event.data["order_id"])
