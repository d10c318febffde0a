"""Payments and shipments of other systems become events of the shop: cleaned, joined within a day, one event for each order.

A marketplace sells for the shop. Two other teams tell what is paid and what is sent, in topics and forms of their own; once
both are known of an order, it is settled, and `remind` and `send-receipt` of topologies/shop.py run as for any other::

    stream-engine worker topologies/shop.py:engine --topology topologies/bridge.py:app
    STREAM_ENGINE_APP=shop faust -A topologies.bridge worker

A payment, in the topic `payments`, and a shipment, in `shipments`::

    {"payment": "p-17", "orderRef": " A-1001 ", "amount": "42.00", "state": "CAPTURED", "at": "2026-11-28T16:00:00Z"}
    {"parcel": "JD0142", "order": "a-1001", "carrier": "dhl", "handed_over": 1795881600}

They have other keys and other numbers of partitions, so what is cleaned goes by a topic of the bridge's own, keyed by the order. What
cannot be read goes to `<app>.bridge.rejected` with the reason.

Everything here happens at least once. A crash at any place repeats some of it: the pairs that are known come out the same, and an
event that is sent again has the same id, by which the engine knows it for 24 hours. The table can be deleted: Kafka has it.
"""

import os
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec
from pydantic import AwareDatetime, BaseModel, Field

from stream_engine.cli.apps import resolve_app_name
from stream_engine.shell.clock import now_ms
from stream_engine.shell.edge.faust_app import Acks, EdgeApp, Prepare, edge_app, guarded, table, within
from stream_engine.shell.localbroker import connected
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import DAY_MS, Names, Wanted

PAYMENTS: Final = os.environ.get("BRIDGE_PAYMENTS", "payments")
SHIPMENTS: Final = os.environ.get("BRIDGE_SHIPMENTS", "shipments")
WINDOW_MS: Final = DAY_MS
"""How far apart a payment and a shipment of one order may be. Ids of events are known for as long, so do not make it longer."""

PARTITIONS: Final = 4
_FLUSH_SECONDS: Final = 0.2
_SWEEP_SECONDS: Final = 60.0
_AHEAD_MS: Final = 3_600_000


class Payment(BaseModel):
    """What the payment team says."""

    payment: str = Field(min_length=1)
    orderRef: str  # noqa: N815 - theirs
    amount: Decimal = Field(gt=0)
    state: str
    at: AwareDatetime


class Shipment(BaseModel):
    """What the warehouse says."""

    parcel: str = Field(min_length=1)
    order: str | int
    carrier: str = "unknown"
    handed_over: AwareDatetime


class Fact(msgspec.Struct, frozen=True):
    """What is known of an order from one side. ``id`` is that side's own, ``at`` in milliseconds since the epoch."""

    kind: str
    order_id: str
    id: str
    at: int
    more: dict[str, int | str] = {}


Pair = dict[str, Fact]
"""The facts of an order, by their kinds."""

_encode: Final = msgspec.json.Encoder().encode
_decode_fact: Final = msgspec.json.Decoder(Fact).decode
_decode_pair: Final = msgspec.json.Decoder(Pair).decode


def payment_fact(value: bytes) -> Fact | None:
    """Clean a payment; None for one that is not captured yet.

    Raises:
        ValueError: it cannot be used.
    """
    said = Payment.model_validate_json(value)
    if said.state.strip().upper() != "CAPTURED":
        return None
    return Fact("payment", _order_id(said.orderRef), said.payment, _ms(said.at), {"amount": int(said.amount * 100)})


def shipment_fact(value: bytes) -> Fact:
    """Clean a shipment.

    Raises:
        ValueError: it cannot be used.
    """
    said = Shipment.model_validate_json(value)
    return Fact(
        "shipment", _order_id(str(said.order)), said.parcel, _ms(said.handed_over), {"carrier": said.carrier.upper()}
    )


def join(known: Pair, fact: Fact) -> Pair:
    """Return what is known of an order with a fact more: the first one of each kind counts, if they are near enough to each other."""
    if len(known) == 2 or any(other.at > fact.at + WINDOW_MS for other in known.values()):
        return known
    return {fact.kind: fact} | {kind: other for kind, other in known.items() if other.at >= fact.at - WINDOW_MS}


def settled(known: Pair) -> bytes | None:
    """Return the event of an order of which both are known. Its id is made of theirs, so that it is the same whenever it is sent."""
    if len(known) < 2:
        return None
    payment, shipment = known["payment"], known["shipment"]
    data = {"order_id": payment.order_id, "charge": payment.id, "parcel": shipment.id, **payment.more, **shipment.more}
    event_id = f"bridge/{payment.order_id}/{payment.id}/{shipment.id}"
    return _encode({"name": "order/settled", "id": event_id, "ts": max(payment.at, shipment.at), "data": data})


def _is_old(now: int, _: bytes, value: bytes) -> bool:
    return all(fact.at < now - WINDOW_MS for fact in _decode_pair(value).values())


def _order_id(text: str) -> str:
    cleaned = text.strip().upper()
    if not cleaned:
        raise ValueError("it names no order")
    return cleaned


def _ms(at: datetime) -> int:
    ms = int(at.timestamp() * 1_000)
    if ms > now_ms() + _AHEAD_MS:
        raise ValueError(f"{at.isoformat()} lies in the future")
    return ms


class Bridge:
    """The agents, with what they share."""

    def __init__(self, app: EdgeApp, names: Names) -> None:
        id = app.conf.id
        raw = {"key_type": bytes, "value_type": bytes, "value_serializer": "raw", "allow_empty": True}
        payments, shipments = app.topic(PAYMENTS, **raw), app.topic(SHIPMENTS, **raw)
        self._facts = app.topic(f"{id}.facts", **raw)
        self._rejected = app.topic(f"{id}.rejected", **raw)
        self._events = app.topic(names.events, **raw)
        self._pairs = table(app, "pairs", f"{id}.pairs")
        self._acks = Acks(self._pairs)
        self._latest: dict[int, Any] = {}
        self._now: dict[int, int] = {}
        app.agent(payments, name="payments", concurrency=1)(guarded(app, self.payments))
        app.agent(shipments, name="shipments", concurrency=1)(guarded(app, self.shipments))
        app.agent(self._facts, name="pairs", concurrency=1)(guarded(app, self.facts))
        app.timer(interval=_FLUSH_SECONDS)(guarded(app, self.flush))
        app.timer(interval=_SWEEP_SECONDS)(guarded(app, self.sweep))
        app.on_partitions_revoked.connect(self.forget, weak=False)

    async def payments(self, stream: Any) -> None:
        """Clean payments."""
        await self._clean(stream, payment_fact)

    async def shipments(self, stream: Any) -> None:
        """Clean shipments."""
        await self._clean(stream, shipment_fact)

    async def facts(self, stream: Any) -> None:
        """Join them, and send an event for each order of which both are known."""
        async for event in stream.noack().events():
            partition, key, fact = event.message.partition, event.message.key, _decode_fact(event.value)
            self._latest[partition] = event
            self._now[partition] = max(self._now.get(partition, 0), fact.at)
            within(event)
            before = self._pairs.get(key)
            known = join({} if before is None else _decode_pair(before), fact)
            # Written also where it changes nothing: what a crash left in RocksDB may not have come to Kafka.
            self._pairs[key] = _encode(known)
            told = settled(known)
            self._acks.add(event, *([] if told is None else [await self._events.send(key=key, value=told)]))

    async def flush(self, *_: Any) -> None:
        """Acknowledge what has arrived where it belongs."""
        await self._acks.flush()

    async def sweep(self, *_: Any) -> None:
        """Forget orders that nothing can be joined to any more, by the time of the facts, not by the clock."""

        for partition, now in list(self._now.items()):
            await self._pairs.expire({partition: self._latest[partition]}, partial(_is_old, now))

    async def forget(self, *_: Any, **__: Any) -> None:
        """Partitions go to others."""
        self._latest.clear()
        self._now.clear()

    async def _clean(self, stream: Any, fact_of: Callable[[bytes], Fact | None]) -> None:
        async for event in stream.noack().events():
            message = event.message
            try:
                fact = fact_of(event.value or b"")
            except ValueError as error:
                origin = f"{message.topic}/{message.partition}/{message.offset}"
                headers = {"reason": str(error).encode(), "origin": origin.encode()}
                sent = [await self._rejected.send(key=message.key, value=event.value, headers=headers)]
            else:
                sent = [await self._facts.send(key=fact.order_id.encode(), value=_encode(fact))] if fact else []
            self._acks.add(event, *sent)


def bridge_app(settings: Settings, app: str) -> EdgeApp:
    """Return the Faust app that makes events of an app; its group, and what its topics are named after, is `<app>.bridge`."""
    names = Names.of(app)
    id = f"{app}.bridge"
    own = [
        Wanted(f"{id}.facts", PARTITIONS, "delete", 2 * WINDOW_MS),
        Wanted(f"{id}.pairs", PARTITIONS, "compact", -1),
        Wanted(f"{id}.rejected", 1, "delete", 7 * DAY_MS),
    ]
    faust_app = edge_app(settings, id, Prepare(settings, id, own, [PAYMENTS, SHIPMENTS]))
    Bridge(faust_app, names)
    return faust_app


_settings = connected(Settings.from_env())

app = bridge_app(_settings, resolve_app_name(None, _settings))
