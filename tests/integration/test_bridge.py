"""The bridge on a real broker, beside a worker: what other systems tell becomes one event of each order, through a crash and repeats."""

import json
import random
import shutil
import time
from collections import Counter
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from tests import raw
from tests.workers import ROOT, Workers, until

_ORDERS = 40
_AT = int(time.time()) - 3 * 86_400
_APP = """
from stream_engine import Context, Engine

engine = Engine({name!r})


@engine.function("thank", on="order/settled")
async def thank(ctx: Context) -> str:
    return ctx.event.data["order_id"]
"""


class _Others:
    """The payment team and the warehouse, each with its topic and its own idea of tidiness."""

    def __init__(self, servers: str, app: str) -> None:
        self.payments, self.shipments = f"{app}-payments", f"{app}-shipments"
        self._servers = servers
        self._random = random.Random(7)
        admin = AdminClient({"bootstrap.servers": servers})
        topics = [NewTopic(self.payments, 3, 1), NewTopic(self.shipments, 2, 1)]
        for created in admin.create_topics(topics).values():
            created.result(30)

    def pay(self, order: int, state: str = "CAPTURED") -> None:
        """Tell that an order is paid."""
        text = self._random.choice([f" A-{order} ", f"a-{order}"])
        said = {"payment": f"p-{order}", "orderRef": text, "amount": "42.50", "state": state, "at": _AT + order}
        self._produce(self.payments, json.dumps(said).encode())

    def ship(self, order: int, after: int = 600) -> None:
        """Tell that an order is sent, so many seconds after its payment."""
        said = {"parcel": f"JD{order}", "order": f"A-{order}", "carrier": "dhl", "handed_over": _AT + order + after}
        self._produce(self.shipments, json.dumps(said).encode())

    def blunder(self) -> None:
        """Say what is of no use."""
        self._produce(self.payments, b"{not json")
        self._produce(self.shipments, b"")
        self._produce(
            self.payments, b'{"payment": "p", "orderRef": "A-1", "amount": "-3", "state": "CAPTURED", "at": 1}'
        )

    def _produce(self, topic: str, value: bytes) -> None:
        raw.produce(self._servers, topic, value)


def _thanked(servers: str, names: Names) -> Counter[str]:
    """Return how many runs each order has had."""
    history = raw.without_repeats([raw.told(record.value) for record in raw.read(servers, names.history)])
    return Counter(told["event_id"].split("/")[1] for told in history if told["schema"] == "RunStarted")


def _lag(servers: str, group: str, topics: list[str]) -> int:
    """Return how many records a group has before it."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False})
    known = consumer.list_topics(timeout=30).topics
    parts = [TopicPartition(topic, number) for topic in topics for number in known[topic].partitions]
    done = {(part.topic, part.partition): max(part.offset, 0) for part in consumer.committed(parts, timeout=30)}
    lag = sum(consumer.get_watermark_offsets(part)[1] - done[part.topic, part.partition] for part in parts)
    consumer.close()
    return lag


def test_payments_and_shipments_become_one_event_of_each_order(
    settings: Settings, app_name: str, tmp_path: Path
) -> None:
    servers, names, group = str(settings.bootstrap_servers), Names.of(app_name), f"{app_name}.bridge"
    others = _Others(servers, app_name)
    file = tmp_path / "thanks.py"
    file.write_text(_APP.format(name=app_name))
    env = {"BRIDGE_PAYMENTS": others.payments, "BRIDGE_SHIPMENTS": others.shipments}
    topology = ("--topology", f"{ROOT / 'topologies' / 'bridge.py'}:app")
    with Workers(f"{file}:engine", settings, env) as workers:
        first = workers.start(*topology)
        first.ready()
        others.blunder()
        # What is of no use is told of again if it was not done with before a crash, as all that is sent on at the edge.
        until(lambda: _lag(servers, group, [others.payments, others.shipments]) == 0, "what is of no use is done with")
        for order in range(_ORDERS):
            # Of the last orders, the second half of the story comes after the crash.
            whole = order < _ORDERS - 10
            if whole or order % 2:
                others.pay(order)
            if whole or not order % 2:
                others.ship(order)
        others.pay(100, "AUTHORISED")
        others.ship(100)
        others.pay(101)
        others.ship(101, after=2 * 86_400)
        until(lambda: len(_thanked(servers, names)) == _ORDERS - 10, "all orders of which both is known are settled")
        first.kill()
        shutil.rmtree(settings.state_dir)

        # All is told again, as happens to others too.
        for order in range(_ORDERS):
            others.ship(order)
            others.pay(order)
        second = workers.start(*topology)
        second.ready()
        until(lambda: len(_thanked(servers, names)) == _ORDERS, "the others are settled too")
        until(
            lambda: _lag(servers, group, [others.payments, others.shipments, f"{group}.facts"]) == 0,
            "all that was told is done with",
        )
        assert second.stop() == 0
    assert _thanked(servers, names) == Counter({f"A-{order}": 1 for order in range(_ORDERS)})
    rejected = [record.headers for record in raw.read(servers, f"{group}.rejected")]
    assert sorted(headers["origin"].split("/")[0] for headers in rejected) == [*[others.payments] * 2, others.shipments]
    assert all(headers["reason"] for headers in rejected)
    [event, *_] = [json.loads(record.value) for record in raw.read(servers, names.events) if record.value is not None]
    assert event["data"]["amount"] == 4_250
    assert event["data"]["carrier"] == "DHL"
